package door

import (
	"errors"
	"time"
)

// Limits of what is served at once, and to whom.
type Limits struct {
	// Pace is the slowest body that is read.
	Pace Pace
	// Connections is how many may be open at once.
	Connections int
	// PerAddress is how many of them may come from one address; 0: all, and Handshakes does not count. Behind a proxy all clients have its
	// address.
	PerAddress int
	// Handshakes is how many connections a second from one address are let in on average, and twice as many at once before that
	// counts; more wait for their turn.
	Handshakes float64
	// Rate is how many calls a second a token may make on average; a node four times as many.
	Rate float64
	// Burst is how many calls a token may make at once before Rate counts; a node four times as many.
	Burst int
	// Calls is how many calls of a token are served at once; more wait for their turn, Wait at most.
	Calls int
	// Wait is how long a call waits for its turn.
	Wait time.Duration
	// Streams is how many streams, uploads and inference requests of one token or node may be open at once.
	Streams int
	// Held is how many bytes of requests of one token or node are held in memory at once; those of messages count as MessageWeight
	// bytes each.
	Held int64
	// HeldAll is how many bytes of requests of all tokens and nodes are.
	HeldAll int64
	// Strangers is how many tokens a second that nobody knows are looked up for one address, and ten times as many at once.
	Strangers float64
}

// handshakeBurst is for how many seconds of Handshakes an address may come at once.
const handshakeBurst = 2

// MessageWeight is how many bytes of memory a byte of a message may become when it is decoded: an empty message within a list is two
// bytes, and some seventy in memory.
const MessageWeight = 32

// AnswerWeight is how many bytes of memory a byte of an answer takes until its client has read it: the rows with their texts, and the
// forms that it is encoded in on its way. Answers below AnswerFree are not counted; of others each AnswerCall bytes count as a call.
const (
	AnswerWeight = 16
	AnswerFree   = 64 << 10
	AnswerCall   = 8 << 10
)

// LogHold is how much memory a log takes that is being read, and LogLines how many of its lines a second a token gets on average; what is
// more has to wait.
const (
	LogHold  = 1 << 20
	LogLines = 20_000
)

// DefaultLimits are what a coordinator takes: far above what people, agents and pipelines of a cluster do.
func DefaultLimits() Limits {
	return Limits{
		Pace:        Pace{Grace: 15 * time.Second, Rate: 4 << 10},
		Connections: 4096, PerAddress: 1024, Handshakes: 100,
		Rate: 500, Burst: 2000, Calls: 64, Wait: 5 * time.Second, Streams: 512,
		Held: 64 << 20, HeldAll: 96 << 20, Strangers: 10,
	}
}

// Validate says what is wrong.
func (l Limits) Validate() error {
	if l.Pace.Grace <= 0 || l.Pace.Rate <= 0 || l.Connections < 16 || l.PerAddress < 0 || l.Handshakes <= 0 || l.Rate <= 0 || l.Burst <= 0 || l.Calls <= 0 ||
		l.Wait < 0 || l.Streams <= 0 || l.Held <= 0 || l.HeldAll < l.Held || l.Strangers <= 0 {
		return errors.New("limits must be greater than 0 (connections at least 16, the bytes of all at least those of one)")
	}
	return nil
}

package attack

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"
)

// patience is how long an attacker of a Crowd holds a connection on which nothing happens.
const patience = 30 * time.Second

// Attacker attacks one coordinator.
type Attacker struct {
	// Address is the host:port of the coordinator.
	Address string
	// TLS trusts its certificate.
	TLS *tls.Config
	// Token is that of a user; empty: the attacker has none.
	Token string
	// From are the local addresses it comes from, in turn.
	From []string
	// Connections it has open at once.
	Connections int
	// Patience is how long it holds a connection on which nothing happens.
	Patience time.Duration

	mu     sync.Mutex
	counts Counts
}

// Counts is how often something came of an attack: "401", "429" ..., "closed" (without an answer), "held" (until the patience was over),
// and "kept out" (no connection).
type Counts map[string]int

// Counts are the outcomes so far.
func (a *Attacker) Counts() Counts {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.counts)
}

// Run attacks until ctx ends.
func (a *Attacker) Run(ctx context.Context) {
	bomb := Bomb(64 << 20)
	var wg sync.WaitGroup
	for i := range a.Connections {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 0)) //nolint:gosec // it is to be the same each time
			for n := 0; ctx.Err() == nil; n++ {
				outcome := a.once(ctx, a.From[(i+n)%len(a.From)], random.IntN(6), bomb)
				if ctx.Err() != nil {
					return
				}
				a.mu.Lock()
				if a.counts == nil {
					a.counts = Counts{}
				}
				a.counts[outcome]++
				a.mu.Unlock()
				select { // a connection that is closed at once is made anew ten times a second
				case <-ctx.Done():
				case <-time.After(100 * time.Millisecond):
				}
			}
		})
	}
	wg.Wait()
}

// Bomb is n spaces, packed.
func Bomb(n int) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	for chunk := bytes.Repeat([]byte(" "), 1<<16); n > 0; n -= len(chunk) {
		_, _ = w.Write(chunk) // a buffer takes all
	}
	_ = w.Close()
	return b.Bytes()
}

// once makes one connection and one attack on it, and returns what came of it.
func (a *Attacker) once(ctx context.Context, from string, kind int, bomb []byte) string {
	d := tls.Dialer{NetDialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: a.Patience}, Config: a.TLS}
	conn, err := d.DialContext(ctx, "tcp", a.Address)
	if err != nil {
		return "kept out"
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(a.Patience)) // a connection that is closed says so in the next call
	const submit, join = "/tandem.v1.JobService/SubmitJob", "/tandem.v1.ClusterService/JoinCluster"
	switch kind {
	case 0: // most of a body, then nothing
		a.begin(conn, submit, "Content-Type: application/proto\r\nConnect-Protocol-Version: 1\r\nContent-Length: 1000000",
			bytes.Repeat([]byte{0}, 900_000))
	case 1: // a byte at a time
		a.begin(conn, "/v1/jobs", "Content-Type: application/json\r\nContent-Length: 1000000", []byte("{"))
		go trickle(conn)
	case 2:
		a.begin(conn, "/v1/jobs", fmt.Sprintf("Content-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: %d",
			len(bomb)), bomb)
	case 3:
		a.begin(conn, join, "Content-Type: application/proto\r\nConnect-Protocol-Version: 1\r\nContent-Length: 16000", []byte("x"))
	case 4: // nothing at all
	case 5:
		a.begin(conn, "/v2/models/m/infer", "Content-Type: application/json\r\nContent-Length: 60000000\r\nX-Attack: 1",
			bytes.Repeat([]byte(" "), 1<<20))
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if ne := net.Error(nil); err != nil {
		if n, ok := err.(net.Error); ok { //nolint:errorlint // it comes from the connection as it is
			ne = n
		}
		if ne != nil && ne.Timeout() {
			return "held"
		}
		return "closed"
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body) // the status is what counts
	return fmt.Sprint(res.StatusCode)
}

// begin sends the head of a request and the beginning of its body. Errors show when the answer is read.
func (a *Attacker) begin(conn net.Conn, path, headers string, body []byte) {
	token := a.Token
	if token == "" && len(body)%2 == 0 {
		token = "tdm_wrong" //nolint:gosec // no token at all
	}
	if token != "" {
		headers += "\r\nAuthorization: Bearer " + token
	}
	if _, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: c\r\n%s\r\n\r\n", path, headers); err == nil {
		_, _ = conn.Write(body)
	}
}

func trickle(conn net.Conn) {
	for {
		<-time.After(300 * time.Millisecond)
		if _, err := conn.Write([]byte(" ")); err != nil {
			return
		}
	}
}

package fsm

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// RequestLife is how long results of clients' requests are remembered at least: for so long a client may repeat one.
const RequestLife = 24 * time.Hour

// kindOf names the kind of a command: the field of Command that it is in.
func kindOf(cmd *tandemv1.Command) string {
	m := cmd.ProtoReflect()
	return string(m.WhichOneof(m.Descriptor().Oneofs().ByName("command")).Name())
}

// repeated answers a request whose id was used before.
func repeated(before *tandemv1.RequestRecord, cmd *tandemv1.Command, index uint64) *tandemv1.Result {
	// What was remembered or proposed by a program of before has no sum.
	other := before.GetRequestSha256() != "" && cmd.GetRequestSha256() != "" && before.GetRequestSha256() != cmd.GetRequestSha256()
	if before.GetCommand() == kindOf(cmd) && !other {
		return before.GetResult()
	}
	r := answered(nil, refuse(codeInvalid, tandemv1.Reason_CODE_REQUEST_ID_REUSED, "request", before.GetRequestId(), "command", before.GetCommand(), "other", other))
	r.Index = index
	return r
}

// expire forgets requests, tokens and events, but no request that is younger than RequestLife.
func (a *applier) expire(c *tandemv1.Expire) (*tandemv1.Result, *refusal) {
	if before := c.GetRequestsBefore(); before != nil {
		limit := a.now.AsTime().Add(-RequestLife)
		if before.AsTime().Before(limit) {
			limit = before.AsTime()
		}
		for _, r := range a.Requests() {
			if r.GetTime().AsTime().Before(limit) {
				a.Delete(r)
			}
		}
	}
	if before := c.GetEventsBefore(); before != nil {
		for _, e := range a.Events(0) {
			if !e.GetTime().AsTime().Before(before.AsTime()) {
				break // they are in the order in which things happened
			}
			a.Delete(e)
		}
	}
	if before := c.GetTokensBefore(); before != nil {
		for _, t := range a.AllTokens() {
			if passed(t.GetExpiresAt(), before) {
				a.Delete(t)
				a.record(infoLevel, tandemv1.Event_TYPE_TOKEN_EXPIRED, aboutToken(t), nil)
			}
		}
	}
	return done(""), nil
}

// passed says whether a time is set and before another.
func passed(at, before *timestamppb.Timestamp) bool {
	return at != nil && at.AsTime().Before(before.AsTime())
}

package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"tandem.dev/proto/identity"
	"tandem.dev/proto/say"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// ErrUnreachable means that no coordinator answered, or none that could serve.
var ErrUnreachable = errors.New("no coordinator answers")

// unavailable is ErrUnreachable when something did answer.
type unavailable struct{ text string }

func (e *unavailable) Error() string        { return e.text }
func (e *unavailable) Is(target error) bool { return target == ErrUnreachable }

// persist repeats a call while that can help and cannot harm.
func (c *Client) persist(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		start := time.Now()
		for {
			var all round
			for range c.reach() {
				res, err := next(ctx, req)
				if over(ctx, err) {
					return nil, ended(ctx, err)
				}
				if err == nil || !c.again(ctx, req, err) {
					return res, c.Explain(err)
				}
				all.add(err)
			}
			if time.Since(start)+c.Patience.Pause > c.Patience.With(all.telling) {
				return nil, c.explain(all)
			}
			if Sleep(ctx, c.Patience.Pause) != nil {
				return nil, ended(ctx, all.telling)
			}
		}
	}
}

// round is what came of asking each coordinator once.
type round struct {
	asked, silent int
	telling       error // the error of an endpoint that answered, if any
}

func (r *round) add(err error) {
	r.asked++
	if refused(err) {
		r.silent++
	}
	if r.telling == nil || !refused(err) {
		r.telling = err
	}
}

// over tells whether a call failed because whoever called waits no longer, which says nothing of the coordinators.
func over(ctx context.Context, err error) bool {
	if err == nil {
		return false
	}
	_, limited := ctx.Deadline()
	// A coordinator is told the limit, and may be the first to say that it is over.
	return ctx.Err() != nil || limited && connect.CodeOf(err) == connect.CodeDeadlineExceeded && !refused(err)
}

// errGivenUp says that whoever called waits no longer.
var errGivenUp = errors.New("given up before an answer came")

// ended is the error of a call that is over.
func ended(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return connect.NewError(connect.CodeCanceled, fmt.Errorf("%w: %w", errGivenUp, err))
	}
	return connect.NewError(connect.CodeDeadlineExceeded, fmt.Errorf("the answer did not come in time, and what was asked may have been done: %w", err))
}

// again tells whether a call that failed may be repeated.
func (c *Client) again(ctx context.Context, req connect.AnyRequest, err error) bool {
	if ctx.Err() != nil || !Lost(err) {
		return false
	}
	return refused(err) || turnedAway(err) || notProposed(err) || harmless(req)
}

// notProposed tells whether a coordinator says that it has not done what was asked, so that another one may be asked to.
func notProposed(err error) bool {
	var ce *connect.Error
	return errors.As(err, &ce) && ce.Meta().Get(identity.NothingProposed) != ""
}

// Lost tells whether an error means that the coordinator, not the request, is the trouble, so that another coordinator
// or a later moment may serve.
func Lost(err error) bool {
	var cert *tls.CertificateVerificationError
	return refused(err) || turnedAway(err) || cutOff(err) || connect.CodeOf(err) == connect.CodeUnavailable && !errors.As(err, &cert)
}

// cutOff tells whether a call that nobody here gave up was given up there: HTTP/2 says so of a process that ends.
func cutOff(err error) bool {
	return connect.CodeOf(err) == connect.CodeCanceled && !errors.Is(err, errGivenUp) && !errors.Is(err, context.Canceled)
}

// turnedAway tells whether a coordinator turned a call away because the token has too many of them: nothing was done.
func turnedAway(err error) bool {
	ce := (*connect.Error)(nil)
	return errors.As(err, &ce) && ce.Code() == connect.CodeResourceExhausted && ce.Meta().Get("Retry-After") != ""
}

// refused tells whether a call never left, for lack of somebody to take it.
func refused(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial" && !errors.Is(err, context.Canceled)
}

// harmless tells whether doing a call twice is the same as doing it once.
func harmless(req connect.AnyRequest) bool {
	name := req.Spec().Procedure[strings.LastIndexByte(req.Spec().Procedure, '/')+1:]
	for _, reads := range []string{"Get", "List", "Verify"} {
		if strings.HasPrefix(name, reads) {
			return true
		}
	}
	m, ok := req.Any().(proto.Message)
	if !ok {
		return false
	}
	f := m.ProtoReflect().Descriptor().Fields().ByName("request_id")
	return f != nil && m.ProtoReflect().Get(f).String() != ""
}

// explain is Explain for what came of asking all coordinators. That some of them answered must not be lost behind those that did
// not: it is another trouble, with another remedy.
func (c *Client) explain(r round) error {
	if r.silent == 0 || r.silent == r.asked || connect.CodeOf(r.telling) != connect.CodeUnavailable || storeAway(r.telling) {
		return c.Explain(r.telling)
	}
	answers := "answer"
	if r.asked-r.silent == 1 {
		answers = "answers"
	}
	return &unavailable{fmt.Sprintf("%d of %d coordinators of context %q %s, and cannot serve without the others (%s): start another one of %s",
		r.asked-r.silent, r.asked, c.Context.Name, answers, Message(r.telling), strings.Join(c.reach(), ", "))}
}

// storeAway says whether a call failed because the store of the cluster does not serve: other coordinators have the same.
func storeAway(err error) bool {
	return say.ReasonOf(err).GetCode() == tandemv1.Reason_CODE_STORE_AWAY
}

// strange says that the cluster refuses who calls.
type strange struct{ text string }

func (s *strange) Error() string { return s.text }

// Explain turns what a user can mend into words that say how. It passes everything else, nil, and what it has explained before, on.
func (c *Client) Explain(err error) error {
	if known := (*strange)(nil); err == nil || errors.Is(err, ErrUnreachable) || errors.As(err, &known) {
		return err
	}
	at := strings.Join(c.reach(), ", ")
	var cert *tls.CertificateVerificationError
	var clocks *identity.ClockError
	switch {
	case errors.As(err, &clocks):
		return clocks
	case errors.As(err, &cert):
		return fmt.Errorf("what answers at %s is not a coordinator of the cluster that context %q is for: start it again with `tandem up`, or choose another with --context%s: %w", at, c.Context.Name, c.replaced(cert.Err), cert.Err)
	case refused(err):
		return fmt.Errorf("%w at %s (context %q): start one with `tandem up`, or choose another cluster with --context", ErrUnreachable, at, c.Context.Name)
	case cutOff(err):
		return &unavailable{fmt.Sprintf("a coordinator at %s (context %q) ended in the middle of the call, and what was asked may have been done: look before you ask again", at, c.Context.Name)}
	case storeAway(err):
		return &unavailable{fmt.Sprintf("the cluster at %s (context %q) cannot reach its store now, where this is kept: "+
			"try again when it does (`tandem events` tells of the store); %s", at, c.Context.Name, Message(err))}
	case connect.CodeOf(err) == connect.CodeUnavailable:
		return &unavailable{fmt.Sprintf("the cluster at %s (context %q) cannot serve now: %s", at, c.Context.Name, Message(err))}
	case say.ReasonOf(err).GetCode() == tandemv1.Reason_CODE_CLIENT_TOKEN_ENDED:
		return err
	case connect.CodeOf(err) == connect.CodeUnauthenticated:
		return connect.NewError(connect.CodeUnauthenticated, &strange{fmt.Sprintf(
			"the cluster refuses the token of context %q: %s; or choose another cluster with --context", c.Context.Name, Message(err))})
	}
	return err
}

// replaced says what to do if it is the CA of the cluster that is another one, where that can be the reason.
func (c *Client) replaced(err error) string {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); !ok || c.Context.CA == "" {
		return ""
	}
	const found = "; or it is, and its CA was replaced without a refresh here: a coordinator has the new one in <data-dir>/pki/ca.pem, "
	if c.Context.Name == Environment {
		return found + "copy that to the file that TANDEM_CA names"
	}
	return fmt.Sprintf("%stake it with `tandem context add %s --endpoint %s --ca-file <data-dir>/pki/ca.pem --token-file %s.token`, the token being beside the contexts file",
		found, c.Context.Name, strings.Join(c.Context.Endpoints, " --endpoint "), c.Context.Name)
}

// Message is the text of an error without the code of what the cluster said, which stands in front of its words.
func Message(err error) string {
	var c *connect.Error
	if errors.As(err, &c) {
		return strings.Replace(err.Error(), c.Error(), c.Message(), 1)
	}
	return err.Error()
}

// Sleep waits, or ends early with the context's error.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

package api

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"tandem.dev/coordinator/audit"
	"tandem.dev/coordinator/rest"
	"tandem.dev/proto/schema"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
)

// Audit is what the API needs of audit.Log.
type Audit interface {
	Record(e *tandemv1.AuditEntry)
	List(req *tandemv1.ListAuditRequest) (*tandemv1.ListAuditResponse, error)
}

// actorHeader names who made a call that another coordinator passes on.
const actorHeader = "Tandem-Actor"

// audited tells whether a call that passed is written down: what changes something, and what reads logs and files. Lists and watches are
// not, nor is what agents and coordinators say all the time.
func audited(procedure string) bool {
	switch schema.Access(procedure) {
	case open, user, admin, operator:
		return procedure != tandemv1connect.ClusterServiceListAuditProcedure
	}
	return procedure == tandemv1connect.JobServiceStreamLogsProcedure || procedure == tandemv1connect.ArtifactServiceDownloadArtifactProcedure
}

// witness is what the audit log is to say of a call. Handlers may know more than the entry did: who joins is found out from the body.
type witness struct {
	who     Principal
	subject string // empty: what the request names
}

type witnessKey struct{}

// witnessed is what the audit log is to say of the call at hand.
func witnessed(ctx context.Context) *witness {
	if w, ok := ctx.Value(witnessKey{}).(*witness); ok {
		return w
	}
	return &witness{who: From(ctx)}
}

// record writes a call down. method is a procedure, or a path of few.
func (a *API) record(w *witness, method string, m proto.Message, err error) {
	p := w.who
	e := &tandemv1.AuditEntry{
		Actor: p.Name, TokenId: p.Token, Role: p.Role, Address: p.Address, Method: strings.TrimPrefix(method, rest.ProcedurePrefix),
		Subject: w.subject,
		Outcome: "ok",
	}
	if err != nil {
		e.Outcome = connect.CodeOf(connectError(err)).String()
	}
	if m != nil {
		e.Subject, e.RequestId = cmp.Or(w.subject, subject(m.ProtoReflect(), 2)), textOf(m.ProtoReflect(), "request_id")
	}
	a.deps.Audit.Record(e)
}

// recordsFailures writes down inferences that failed though the request was let in: whose it was that a model did not come back from, or that
// brought its replica down. Those that passed, or were refused for what is in them, are too many.
func (a *API) recordsFailures(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r)
		code := connect.CodeDeadlineExceeded
		switch tallied(r.Context()).status {
		case http.StatusGatewayTimeout:
		case http.StatusBadGateway:
			code = connect.CodeUnavailable
		default:
			return
		}
		a.record(&witness{who: From(r.Context()), subject: r.PathValue("model")}, "/v2", nil, connect.NewError(code, errInference))
	})
}

// errInference stands in no answer: the gateway has given one.
var errInference = errors.New("inference failed")

// subject is the first field of a request, or of a message in it, that names what it is about.
func subject(m protoreflect.Message, depth int) string {
	for _, name := range []protoreflect.Name{"id", "name", "model", "dataset", "owner", "version", "job_id", "sha256", "dataset_id"} {
		if s := textOf(m, name); s != "" {
			return s
		}
	}
	found := ""
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if depth > 1 && f.Kind() == protoreflect.MessageKind && !f.IsList() && !f.IsMap() {
			found = subject(v.Message(), depth-1)
		}
		return found == ""
	})
	return found
}

// maxText is the longest word of a request in the audit log, in bytes.
const maxText = 128

func textOf(m protoreflect.Message, name protoreflect.Name) string {
	f := m.Descriptor().Fields().ByName(name)
	if f == nil || f.Kind() != protoreflect.StringKind || f.IsList() {
		return ""
	}
	s := m.Get(f).String()
	return strings.ToValidUTF8(s[:min(len(s), maxText)], "")
}

// auditor writes down calls that passed the entry, with what became of them.
type auditor struct{ a *API }

// WrapUnary implements connect.Interceptor.
func (w auditor) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		ctx = context.WithValue(ctx, witnessKey{}, witnessed(ctx))
		res, err := next(ctx, req)
		m, _ := req.Any().(proto.Message)
		w.done(ctx, req.Spec().Procedure, m, err)
		return res, err
	}
}

// WrapStreamingHandler implements connect.Interceptor.
func (w auditor) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		seen := &firstMessage{StreamingHandlerConn: conn}
		err := next(ctx, seen)
		w.done(ctx, conn.Spec().Procedure, seen.message, err)
		return err
	}
}

// WrapStreamingClient implements connect.Interceptor.
func (auditor) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

func (w auditor) done(ctx context.Context, procedure string, m proto.Message, err error) {
	denied := false
	if err != nil {
		code := connect.CodeOf(connectError(err))
		denied = code == connect.CodePermissionDenied || code == connect.CodeUnauthenticated
	}
	if audited(procedure) || denied {
		w.a.record(witnessed(ctx), procedure, m, err)
	}
}

// firstMessage remembers the first message of a stream, which says what it is about.
type firstMessage struct {
	connect.StreamingHandlerConn
	message proto.Message
}

// Receive implements connect.StreamingHandlerConn.
func (f *firstMessage) Receive(m any) error {
	err := f.StreamingHandlerConn.Receive(m)
	if pm, ok := m.(proto.Message); ok && f.message == nil && err == nil {
		f.message = proto.Clone(pm)
	}
	return err
}

// ListAudit implements ClusterService.
func (a cluster) ListAudit(ctx context.Context, req *connect.Request[tandemv1.ListAuditRequest]) (*connect.Response[tandemv1.ListAuditResponse], error) {
	if err := a.verify.Acquire(ctx, 1); err != nil { // megabytes of lines are read
		return nil, err
	}
	res, err := a.deps.Audit.List(req.Msg)
	a.verify.Release(1)
	if err != nil {
		return nil, err
	}
	if req.Header().Get(forwardedHeader) == "" {
		a.askOthers(ctx, req.Msg, res)
		newest, more := audit.Newest(req.Msg, res.GetEntries())
		if res.Entries = newest; more || res.GetNextPageToken() != "" { // one that has more has filled the page alone
			res.NextPageToken = audit.PageToken(newest[0])
		}
	}
	return connect.NewResponse(res), nil
}

// auditPatience is how long another coordinator may take to list its entries.
const auditPatience = 5 * time.Second

// askOthers adds what all other coordinators have.
func (a cluster) askOthers(ctx context.Context, req *tandemv1.ListAuditRequest, res *tandemv1.ListAuditResponse) {
	ctx, cancel := context.WithTimeout(ctx, auditPatience)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, p := range a.deps.Voters.Peers() {
		if p.ID == a.deps.Self.Identity.Node {
			continue
		}
		wg.Go(func() {
			on := connect.NewRequest(req)
			on.Header().Set(forwardedHeader, "1")
			theirs, err := a.deps.Peer(p.Address).ListAudit(ctx, on)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				res.Silent = append(res.Silent, p.ID)
				return
			}
			res.Entries, res.Broken = append(res.Entries, theirs.Msg.GetEntries()...), append(res.Broken, theirs.Msg.GetBroken()...)
			res.NextPageToken = cmp.Or(res.GetNextPageToken(), theirs.Msg.GetNextPageToken())
		})
	}
	wg.Wait()
	slices.Sort(res.Silent)
	slices.Sort(res.Broken)
}

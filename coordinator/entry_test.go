package coordinator

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"tandem.dev/proto/identity"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
)

// begin opens a connection and sends the headers of a request that announces a body, and part of the body.
func (r *running) begin(t *testing.T, path, token, contentType, part string) *bufio.Reader {
	t.Helper()
	conn, err := tls.Dial("tcp", r.Address(), &tls.Config{RootCAs: r.creds.Get().Pool(), ServerName: identity.RoleName(identity.RoleCoordinator)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: c\r\nContent-Type: %s\r\nContent-Length: 8000000\r\n", path, contentType)
	if token != "" {
		head += "Authorization: Bearer " + token + "\r\n"
	}
	if strings.HasPrefix(path, "/tandem") {
		head += "Connect-Protocol-Version: 1\r\n"
	}
	if _, err := io.WriteString(conn, head+"\r\n"+part); err != nil {
		t.Fatal(err)
	}
	return bufio.NewReader(conn)
}

// TestNothingIsReadBeforeItIsKnownWhoAsks: a request that is refused is answered though not a byte of its body has come, on every
// path and in every protocol, and always in one form.
func TestNothingIsReadBeforeItIsKnownWhoAsks(t *testing.T) {
	r := startOne(t)
	viewer := r.mint(t, r.admin(t), "v", "viewer", false)
	for _, tc := range []struct{ path, contentType string }{
		{tandemv1connect.JobServiceSubmitJobProcedure, "application/json"},
		{tandemv1connect.JobServiceSubmitJobProcedure, "application/proto"},
		{tandemv1connect.JobServiceSubmitJobProcedure, "application/grpc"},
		{tandemv1connect.JobServiceSubmitJobProcedure, "application/grpc-web+json"},
		{tandemv1connect.ArtifactServiceUploadArtifactProcedure, "application/connect+proto"},
		{tandemv1connect.AgentServiceReportProcedure, "application/proto"},
		{tandemv1connect.PeerServiceProposeProcedure, "application/proto"},
		{"/v1/jobs", "application/json"},
		{"/v1/jobs/x/intent", "application/json"},
		{"/v1/nothing", "application/json"},
		{"/v2/models/m/infer", "application/json"},
		{"/v2/models/m/infer", "application/octet-stream"},
		{"/v2", "application/json"},
		{"/", "application/json"},
	} {
		for name, token := range map[string]string{"nobody": "", "wrong": "tdm_wrong", "viewer": viewer} {
			mayLook := !strings.HasPrefix(tc.path, "/tandem") && tc.path != "/v1/jobs" && tc.path != "/v1/jobs/x/intent"
			if name == "viewer" && mayLook {
				continue
			}
			t.Run(tc.path+" "+tc.contentType+" "+name, func(t *testing.T) {
				res, err := http.ReadResponse(r.begin(t, tc.path, token, tc.contentType, ""), nil)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				body, _ := io.ReadAll(res.Body) // what there is counts
				want, code := 401, "unauthenticated"
				if name == "viewer" {
					want, code = 403, "permission_denied"
				}
				if want == 401 && res.Header.Get("WWW-Authenticate") != `Bearer realm="tandem"` {
					t.Errorf("WWW-Authenticate: %q", res.Header.Get("WWW-Authenticate"))
				}
				if strings.Contains(tc.contentType, "grpc") {
					status := map[int]string{401: "16", 403: "7"}[want]
					if got := res.Header.Get("Grpc-Status") + res.Trailer.Get("Grpc-Status") + trailer(body); !strings.HasPrefix(got, status) || res.StatusCode != 200 {
						t.Errorf("answered %d %v %q, want grpc-status %s", res.StatusCode, res.Trailer, body, status)
					}
					return
				}
				if strings.Contains(tc.contentType, "connect+") {
					if !strings.Contains(string(body), code) {
						t.Errorf("answered %q, want %s", body, code)
					}
					return
				}
				var said map[string]string
				if err := json.Unmarshal(body, &said); err != nil || res.StatusCode != want || said["code"] != code || said["message"] == "" {
					t.Errorf("answered %d %s, want %d", res.StatusCode, body, want)
				}
				if !strings.HasPrefix(tc.path, "/tandem") && said["error"] != said["message"] {
					t.Errorf("answered %s: clients of the inference protocol read \"error\"", body)
				}
			})
		}
	}
}

// trailer is the status in the body of a gRPC-Web answer.
func trailer(body []byte) string {
	if _, after, ok := bytes.Cut(body, []byte("grpc-status:")); ok {
		return strings.TrimSpace(string(after))
	}
	return ""
}

// TestJoinDoor: the one procedure that is open to all takes small bodies, few at once.
func TestJoinDoor(t *testing.T) {
	r := startOne(t)
	nobody := r.client("")
	t.Cleanup(nobody.CloseIdleConnections)
	const path = tandemv1connect.ClusterServiceJoinClusterProcedure
	if code, body := do(t, nobody, "POST", r.url()+path, `{"token":"`+strings.Repeat("x", 17<<10)+`"}`); code != http.StatusTooManyRequests || !strings.Contains(body, "limit is 16384 bytes") {
		t.Errorf("a large request: %d %s", code, body)
	}
	first := make(chan *http.Response, 17)
	for range cap(first) {
		pending := r.begin(t, path, "", "application/proto", "x")
		go func() {
			res, err := http.ReadResponse(pending, nil)
			if err == nil {
				_ = res.Body.Close()
			}
			first <- res
		}()
	}
	select {
	case res := <-first:
		if res == nil || res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") == "" {
			t.Errorf("one more than are served at once: %v", res)
		}
	case <-time.After(time.Minute):
		t.Error("all of them are served at once")
	}
}

func packed(t *testing.T, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(bytes.Repeat([]byte(" "), n)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("{}")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestPackedBodies: what a body becomes when it is unpacked is what is limited, in every protocol.
func TestPackedBodies(t *testing.T) {
	r := startOne(t)
	admin := r.admin(t)
	serveToy(t, r, admin, func(w http.ResponseWriter, req *http.Request) {
		b, err := io.ReadAll(req.Body)
		_, _ = fmt.Fprintf(w, "got %s %s%v", b, req.Header.Get("Content-Encoding"), err)
	})
	send := func(path, contentType, encoding string, body []byte) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), "POST", r.url()+path, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		header := "Content-Encoding"
		switch {
		case strings.Contains(contentType, "grpc"):
			header = "Grpc-Encoding"
			body = append([]byte{1, byte(len(body) >> 24), byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...)
			req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
			req.Header.Set("TE", "trailers")
		case strings.HasPrefix(path, "/tandem"):
			req.Header.Set("Connect-Protocol-Version", "1")
		}
		req.Header.Set("Content-Type", contentType)
		req.Header.Set(header, encoding)
		res, err := admin.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body) // what there is counts
		return res.StatusCode, fmt.Sprint(string(b), res.Header.Get("Grpc-Message"), res.Trailer.Get("Grpc-Message"))
	}
	const submit = tandemv1connect.JobServiceSubmitJobProcedure
	for _, tc := range []struct {
		path, contentType, encoding string
		body                        []byte
		status                      int
		want                        string
	}{
		{"/v1/jobs", "application/json", "gzip", packed(t, 10), 400, "spec: is missing"}, // it was read: the spec has no name
		{"/v1/jobs", "application/json", "gzip", packed(t, 64<<20), 413, "limit is 1114112"},
		{"/v1/jobs", "application/json", "gzip", []byte("{}"), 400, "is not gzip"},
		{"/v1/jobs", "application/json", "br", []byte("{}"), 415, "is not supported"},
		{"/v2/models/toy/infer", "application/json", "gzip", packed(t, 10), 200, "got           {} <nil>"},
		{"/v2/models/toy/infer", "application/json", "gzip", packed(t, 33<<20), 413, "33554432 bytes: send fewer rows"},
		{"/v2/models/toy/infer", "application/json", "br", []byte("{}"), 415, "is not supported"},
		{submit, "application/json", "gzip", packed(t, 10), 400, "spec: is missing"},
		{submit, "application/json", "gzip", packed(t, 64<<20), 429, "limit is 1114112"},
		{submit, "application/proto", "gzip", packed(t, 64<<20), 429, "limit is 1114112"},
		{submit, "application/grpc+json", "gzip", packed(t, 64<<20), 200, "limit is 8388608"},
		{submit, "application/grpc+proto", "gzip", packed(t, 64<<20), 200, "1114112"},
	} {
		if status, body := send(tc.path, tc.contentType, tc.encoding, tc.body); status != tc.status || !strings.Contains(body, tc.want) {
			t.Errorf("%s %s, %d bytes: %d %s, want %d with %s", tc.path, tc.contentType, len(tc.body), status, body, tc.status, tc.want)
		}
	}
}

// TestSizesOfRequests: a string or a list that holds too much is refused by its name, in every protocol, in streams and from nodes too.
func TestSizesOfRequests(t *testing.T) {
	r := startOne(t)
	admin := r.admin(t)
	long := strings.Repeat("x", 200)
	jobs := tandemv1connect.NewJobServiceClient(admin, r.url())
	_, err := jobs.SetJobIntent(t.Context(), connect.NewRequest(&tandemv1.SetJobIntentRequest{Id: "j", RequestId: long}))
	wantCode(t, err, connect.CodeInvalidArgument, "request_id: has 200 bytes, at most 128 are allowed")
	if status, body := do(t, admin, "POST", r.url()+"/v1/jobs/j/intent", `{"requestId":"`+long+`"}`); status != 400 || !strings.Contains(body, "request_id: has 200 bytes") {
		t.Errorf("REST: %d %s", status, body)
	}
	_, err = jobs.SubmitJob(t.Context(), connect.NewRequest(&tandemv1.SubmitJobRequest{Spec: &tandemv1.JobSpec{
		Publish: &tandemv1.PublishSpec{Aliases: slices.Repeat([]string{"a"}, 2000)},
	}}))
	wantCode(t, err, connect.CodeInvalidArgument, "spec.publish.aliases: has 2000 entries")
	watch, err := jobs.WatchJob(t.Context(), connect.NewRequest(&tandemv1.WatchJobRequest{Id: strings.Repeat("x", 5000)}))
	if err == nil {
		watch.Receive()
		err = watch.Err()
	}
	wantCode(t, err, connect.CodeInvalidArgument, "id: has 5000 bytes")
	upload := tandemv1connect.NewArtifactServiceClient(admin, r.url()).UploadArtifact(t.Context())
	sum := sha256.Sum256(nil)
	for _, m := range []*tandemv1.UploadArtifactRequest{
		{Part: &tandemv1.UploadArtifactRequest_Header{Header: &tandemv1.UploadArtifactHeader{Sha256: hex.EncodeToString(sum[:]), Size: 2 << 20}}},
		{Part: &tandemv1.UploadArtifactRequest_Chunk{Chunk: make([]byte, 1<<20+1)}},
	} {
		if err := upload.Send(m); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	}
	_, err = upload.CloseAndReceive()
	wantCode(t, err, connect.CodeInvalidArgument, "chunk: has 1048577 bytes")
	node := newAgent(t, r)
	_, err = node.api.RendezvousSet(t.Context(), connect.NewRequest(&tandemv1.RendezvousSetRequest{Key: strings.Repeat("k", 300)}))
	wantCode(t, err, connect.CodeInvalidArgument, "key: has 300 bytes")
}

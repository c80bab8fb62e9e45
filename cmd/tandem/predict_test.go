package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"

	"tandem.dev/proto/say"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// oracle is a served model of rows of one value, of which three may be in a request: the label is the value.
type oracle struct {
	t       *testing.T
	mu      sync.Mutex
	asked   []int // rows of each request
	version func(request int) int
}

func (o *oracle) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		_, _ = io.WriteString(w, `{"name":"digits","inputs":[{"name":"input","datatype":"FP32","shape":[-1,1]}],"properties":{"max_rows":3}}`)
		return
	}
	var req struct {
		Inputs []struct {
			Shape []int
			Data  []float64
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		o.t.Error(err)
	}
	in := req.Inputs[0]
	if in.Shape[0] != len(in.Data) {
		o.t.Errorf("shape %v with %d values", in.Shape, len(in.Data))
	}
	o.mu.Lock()
	o.asked = append(o.asked, in.Shape[0])
	version := o.version(len(o.asked))
	o.mu.Unlock()
	if in.Data[0] < 0 {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"error":"less than nothing"}`)
		return
	}
	var labels, outputs []string
	for _, v := range in.Data {
		labels = append(labels, fmt.Sprintf(`"is %g"`, v))
		outputs = append(outputs, fmt.Sprint(v, ",", -v))
	}
	_, _ = fmt.Fprintf(w, `{"model_name":"digits","model_version":"%d","outputs":[{"name":"output","datatype":"FP32","shape":[%d,2],"data":[%s]},{"name":"label","datatype":"BYTES","shape":[%[2]d],"data":[%[4]s]}]}`,
		version, len(in.Data), strings.Join(outputs, ","), strings.Join(labels, " , "))
}

// TestPredictInParts: more rows than a request may have are asked about in several, and answered as if it were one.
func TestPredictInParts(t *testing.T) {
	ca := newAuthority(t)
	o := &oracle{t: t, version: func(int) int { return 2 }}
	u := newUser(t, ca.pem, ca.serve(t, &fake{rest: o.ServeHTTP}))
	text := "x\n"
	for i := range 8 {
		text += fmt.Sprint(10+i, "\n")
	}
	file := write(t, u.dir, "x.csv", text)
	u.want(u.run("predict", "digits", "--input", file, "-o", "json"), exitOK)
	if diff := cmp.Diff([]int{3, 3, 2}, o.asked); diff != "" {
		t.Error(diff)
	}
	var p struct {
		ModelVersion string `json:"model_version"`
		Outputs      []struct {
			Name  string
			Shape []int
			Data  []any
		}
	}
	if err := json.Unmarshal([]byte(u.out.String()), &p); err != nil || p.ModelVersion != "2" || len(p.Outputs) != 2 {
		t.Fatalf("%v: %s", err, u.out.String())
	}
	for i := range 8 {
		v := float64(10 + i)
		if got := []any{p.Outputs[0].Data[2*i], p.Outputs[0].Data[2*i+1], p.Outputs[1].Data[i]}; !cmp.Equal(got, []any{v, -v, fmt.Sprintf("is %g", v)}) {
			t.Errorf("row %d: %v", i, got)
		}
	}
	if diff := cmp.Diff([][]int{{8, 2}, {8}}, [][]int{p.Outputs[0].Shape, p.Outputs[1].Shape}); diff != "" {
		t.Error(diff)
	}
	u.want(u.run("predict", "digits", "--input", file), exitOK, "1    is 10", "8    is 17", "Row 1 with curl:")
	// What one part is refused for names its rows; a version that changes between two parts is not an answer.
	u.want(u.run("predict", "digits", "--input", write(t, u.dir, "bad.csv", "x\n1\n2\n3\n-4\n5\n")), exitUsage, "rows 4 to 5: less than nothing")
	o.version = func(request int) int { return request }
	u.want(u.run("predict", "digits", "--input", file), exitError, "rows 4 to 6: version 9 answered the rows before and version 10 these: ask again, or name a version")
}

// TestPredictCurl: the curl command that is shown can be run as it stands, and asks about what it says.
func TestPredictCurl(t *testing.T) {
	ca := newAuthority(t)
	o := &oracle{t: t, version: func(int) int { return 2 }}
	u := newUser(t, ca.pem, ca.serve(t, &fake{rest: o.ServeHTTP}))
	long := `{"inputs":[{"name":"input","datatype":"FP32","shape":[1,1],"data":[5` + strings.Repeat(" ", maxInline) + `]}]}`
	request := write(t, u.dir, "it's a request.json", long)
	for name, tc := range map[string]struct {
		input, data, title string
	}{
		"rows":      {write(t, u.dir, "2.csv", "x\n1\n2\n"), `-d|{"inputs":[{"name":"input","datatype":"FP32","shape":[2,1],"data":[1,2]}]}`, "The same with curl:"},
		"many rows": {write(t, u.dir, "4.csv", "x\n7\n2\n3\n4\n"), `-d|{"inputs":[{"name":"input","datatype":"FP32","shape":[1,1],"data":[7]}]}`, "Row 1 with curl:"},
		"request":   {write(t, u.dir, "r.json", `{"id":"it's","inputs":[{"shape":[1],"data":[3]}]}`), `-d|{"id":"it's","inputs":[{"shape":[1],"data":[3]}]}`, "The same with curl:"},
		"long":      {request, "--data-binary|@" + request, "The same with curl:"},
	} {
		u.want(u.run("predict", "digits", "--input", tc.input), exitOK, tc.title)
		_, command, _ := strings.Cut(u.out.String(), "with curl:\n\n")
		ran, err := exec.CommandContext(t.Context(), "sh", "-ec", `curl() { printf '%s|' "$@"; }`+"\n"+command).CombinedOutput()
		if err != nil || !strings.Contains(string(ran), "/v2/models/digits/infer|"+tc.data+"|") || !strings.Contains(string(ran), "|Authorization: Bearer "+secret+"|") ||
			!strings.HasPrefix(string(ran), "--cacert|"+filepath.Join(u.dir, "test.ca.pem")+"|") {
			t.Errorf("%s: %v, %s ran %s", name, err, command, ran)
		}
	}
	u.in = long
	u.want(u.run("predict", "digits", "--input", "-"), exitOK, "The same with curl:")
	u.in = strings.Replace(long, " ", strings.Repeat(" ", maxInlineRow), 1)
	u.want(u.run("predict", "digits", "--input", "-"), exitOK, "is 5")
	if strings.Contains(u.out.String(), "curl") {
		t.Errorf("a request that was read from a pipe and is too long: %.300s", u.out.String())
	}
}

// TestPredictWhileTheStoreIsAway: what columns a model takes is read from the store; while that is away, nobody's rows are to blame. A
// dataset that was deleted is another matter.
func TestPredictWhileTheStoreIsAway(t *testing.T) {
	ca := newAuthority(t)
	o := &oracle{t: t, version: func(int) int { return 2 }}
	away := say.Error(connect.CodeUnavailable, &tandemv1.Reason{Code: tandemv1.Reason_CODE_STORE_AWAY}, errors.New("the store does not serve: dial"))
	for name, tc := range map[string]struct {
		err  error
		code int
		says []string
	}{
		"away":    {away, exitUnreachable, []string{"find out which columns digits takes", "cannot reach its store now", "try again when it does", "as a JSON list"}},
		"deleted": {connect.NewError(connect.CodeNotFound, errors.New("no such dataset")), exitUsage, []string{"row 1 has 2 values, the model takes 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fake{rest: o.ServeHTTP, version: &tandemv1.Version{Model: "digits", Number: 2}, manifest: func() (string, error) { return "", tc.err }}
			u := newUser(t, ca.pem, ca.serve(t, f))
			u.want(u.run("predict", "digits", "--input", write(t, u.dir, "x.csv", "x,label\n1,2\n")), tc.code, tc.says...)
		})
	}
	// Another coordinator that is down has nothing to do with it.
	f := &fake{rest: o.ServeHTTP, version: &tandemv1.Version{Model: "digits", Number: 2}, manifest: func() (string, error) { return "", away }}
	u := newUser(t, ca.pem, ca.serve(t, f), "127.0.0.1:1")
	if u.want(u.run("predict", "digits", "--input", write(t, u.dir, "x.csv", "x\n1\n")), exitUnreachable, "cannot reach its store now"); strings.Contains(u.err.String(), "without the others") {
		t.Errorf("it blames the other coordinators: %s", u.err.String())
	}
}

// TestPredictWithoutALimit: a server that does not say how many rows it takes gets as many as the protocol's constants say.
func TestPredictWithoutALimit(t *testing.T) {
	ca := newAuthority(t)
	o := &oracle{t: t, version: func(int) int { return 2 }}
	u := newUser(t, ca.pem, ca.serve(t, &fake{rest: func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			_, _ = io.WriteString(w, `{"name":"digits","inputs":[{"name":"input","datatype":"FP32","shape":[-1,1]}]}`)
			return
		}
		o.ServeHTTP(w, r)
	}}))
	var text strings.Builder
	text.WriteString("[[0]")
	for i := range 4096 {
		text.WriteString(",[" + strconv.Itoa(i) + "]")
	}
	u.in = text.String() + "]"
	u.want(u.run("predict", "digits", "--input", "-"), exitOK, "4097  is 4095")
	if diff := cmp.Diff([]int{4096, 1}, o.asked); diff != "" {
		t.Error(diff)
	}
}

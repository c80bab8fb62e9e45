package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"tandem.dev/storage/dataset"
	"tandem.dev/storage/version"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sums is a model whose outputs are the sum of a row and its negative; before waits first.
type sums struct{ before func() }

func (s sums) Predict(x []float32, shape []int64) ([]float32, []int64, error) {
	if s.before != nil {
		s.before()
	}
	rows := int(shape[0])
	dim := len(x) / rows
	var out []float32
	for i := range rows {
		sum := float32(0)
		for _, v := range x[i*dim : (i+1)*dim] {
			sum += v
		}
		out = append(out, sum, -sum)
	}
	return out, []int64{int64(rows), 2}, nil
}

func manifest() version.Manifest {
	return version.Manifest{
		Task: dataset.TaskClassification, Classes: 2, ClassNames: []string{"up", "down"}, Features: []string{"a", "b", "c", "d"},
		Input:         version.Signature{Name: "input", Datatype: "FP32", Shape: []int64{-1, 2, 2}},
		Normalization: dataset.Normalization{Method: dataset.MethodScale, Offset: []float32{0}, Scale: []float32{2}},
		Outputs: []version.Signature{
			{Name: "output", Datatype: "FP32", Shape: []int64{-1, 2}}, {Name: "probabilities", Datatype: "FP32", Shape: []int64{-1, 2}}, {Name: "label", Datatype: "BYTES", Shape: []int64{-1}},
		},
	}
}

func replica(model version.Model, change ...func(*Config)) *Replica {
	c := DefaultConfig()
	c.Model, c.Version, c.MaxRows, c.MaxBytes = "signs", "3", 4, 2000
	for _, f := range change {
		f(&c)
	}
	return New(model, manifest(), c, zerolog.Nop())
}

func call(h http.Handler, method, path, body string) (int, string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	return w.Code, w.Body.String()
}

func TestInfer(t *testing.T) {
	h := replica(sums{}).Handler()
	want := `{"id":"x","model_name":"signs","model_version":"3","outputs":[` +
		`{"name":"output","datatype":"FP32","shape":[2,2],"data":[5,-5,-1,1]},` +
		`{"name":"probabilities","datatype":"FP32","shape":[2,2],"data":[0.9999546,0.00004539787,0.11920292,0.8807971]},` +
		`{"name":"label","datatype":"BYTES","shape":[2],"data":["up","down"]}]}`
	for _, input := range []string{
		`"shape": [2, 4], "data": [1, 2, 3, 4, -1, -1, 0, 0]`,
		`"shape": [2, 2, 2], "data": [1, 2, 3, 4, -1, -1, 0, 0]`,
		`"shape": [2, 2, 2], "data": [[[1, 2], [3, 4]], [[-1, -1], [0, 0]]]`,
		`"shape": [2, 4], "data": [[1, 2, 3, 4 ], [-1,-1 , 0, 0.0e0]]`,
	} {
		for _, path := range []string{"/v2/models/signs/infer", "/v2/models/signs/versions/3/infer"} {
			code, got := call(h, "POST", path, `{"id": "x", "inputs": [{"name": "input", "datatype": "FP32", `+input+`}]}`)
			if code != 200 || got != want {
				t.Errorf("%s of %s: %d\n got %s\nwant %s", path, input, code, got, want)
			}
		}
	}
	code, got := call(h, "POST", "/v2/models/signs/infer",
		`{"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 4], "data": [0, 0, 0, 1]}], "outputs": [{"name": "label"}]}`)
	if want := `{"model_name":"signs","model_version":"3","outputs":[{"name":"label","datatype":"BYTES","shape":[1],"data":["up"]}]}`; code != 200 || got != want {
		t.Errorf("only the label: %d %s", code, got)
	}
}

func TestBadRequestsAreExplained(t *testing.T) {
	h := replica(sums{}).Handler()
	input := func(name, datatype, shape, data string) string {
		return fmt.Sprintf(`{"inputs": [{"name": %q, "datatype": %q, "shape": %s, "data": %s}]}`, name, datatype, shape, data)
	}
	for _, c := range []struct {
		body, want string
		code       int
	}{
		{input("x", "FP32", "[1,4]", "[1,2,3,4]"), `name is \"x\"`, 400},
		{input("input", "INT64", "[1,4]", "[1,2,3,4]"), "takes FP32", 400},
		{input("input", "FP32", "[1,5]", "[1,2,3,4,5]"), "[-1 2 2]", 400},
		{input("input", "FP32", "[]", "[]"), "[-1 2 2]", 400},
		{input("input", "FP32", "[0,4]", "[]"), "0 rows", 400},
		{input("input", "FP32", "[5,4]", "[1]"), "send 1 to 4", 400},
		{input("input", "FP32", "[-1,4]", "[1]"), "-1 rows", 400},
		{input("input", "FP32", "[1,4]", "[1,2,3]"), "3 numbers", 400},
		{input("input", "FP32", "[1,4]", "[1,2,3,1e39]"), "1e39", 400},
		{input("input", "FP32", "[1,4]", "[1,2,3,null]"), "element 3 is null", 400},
		{input("input", "FP32", "[1,4]", `[1,2,3,"4"]`), "not a number", 400},
		{input("input", "FP32", "[1,4]", "[1,2,3,NaN]"), "not an inference request", 400},
		{input("input", "FP32", "[1,4]", "7"), "array of numbers", 400},
		{input("input", "FP32", "[2,2,2]", "[[1,2,3,4],[5,6,7,8]]"), "nested as [2 4]", 400},
		{input("input", "FP32", "[2,4]", "[[1,2,3,4],[5,6,7]]"), "ragged", 400},
		{input("input", "FP32", "[2,4]", "[[1,2,3,4],5,6,7,8]"), "mixed", 400},
		{input("input", "FP32", "[2,4]", "[1,[2,3,4],5,6,7,8]"), "mixed", 400},
		{input("input", "FP32", "[1,4]", strings.Repeat("[", 20)+strings.Repeat("]", 20)), "too deeply", 400},
		{`{"inputs": []}`, "0 tensors", 400},
		{`{`, "not an inference request", 400},
		{``, "not an inference request", 400},
		{`{"inputs": [{"name": "input", "datatype": "FP32", "shape": [1,4], "data": [1,2,3,4]}], "outputs": [{"name": "y"}]}`, `name is \"y\"`, 400},
		{`{"inputs": [{"name": "input", "datatype": "FP32", "shape": [1,4], "parameters": {"binary_data_size": 16}}]}`, "0 bytes follow the JSON", 400},
		{`{"id": 7, "inputs": []}`, "id must be a string, not 7", 400},
		{`["inputs"]`, "the body must be an object, not an array", 400},
		{`null`, "the body must be an object, not null", 400},
		{`{"inputs": [7]}`, "inputs[0] must be an object, not 7", 400},
		{input("input", "FP32", `["1",4]`, "[1,2,3,4]"), `inputs[0].shape[0] must be a whole number, not \"1\"`, 400},
		{input("input", "FP32", `[1.5,4]`, "[1,2,3,4]"), "inputs[0].shape[0] must be a whole number, not 1.5", 400},
		{input("input", "FP32", `[18446744073709551616,4]`, "[1,2,3,4]"), "must be a whole number", 400},
		{`{"inputs": [{"name": 1}]}`, "inputs[0].name must be a string, not 1", 400},
		{`{"Inputs": []}`, `the body has the key \"Inputs\": write it \"inputs\"`, 400},
		{`{"inputs": [{"Name": "input"}]}`, `inputs[0] has the key \"Name\": write it \"name\"`, 400},
		{`{"inputs": [], "inputs": []}`, `the body has the key \"inputs\" twice`, 400},
		{`{"inputs": [{"name": "input", "data": [1, x]}]}`, "at byte 42, in inputs[0].data[1]", 400},
		{`{"inputs": []} {}`, "something follows", 400},
		{`{"inputs": [], "parameters": 3}`, "parameters must be an object", 400},
		{`{` + strings.Repeat(`"a":1,`, 64) + `"inputs": []}`, "more than 64 keys", 400},
		{strings.Replace(one, `"data"`, `"parameters": {"shared_memory_region": "x"}, "data"`, 1), "inputs[0].parameters has shared_memory_region, which is not supported", 400},
		{strings.Replace(one, `}]}`, `}], "outputs": [{"name": "label", "parameters": {"classification": 3}}]}`, 1), `outputs[0].parameters has classification, which is not supported: the classes are in the outputs label`, 400},
		{strings.Replace(one, `{`, `{"parameters": {"sequence_id": 5}, `, 1), "sequence_id", 400},
		{strings.Replace(one, `{`, `{"parameters": {"binary_data_output": 1}, `, 1), "parameters.binary_data_output is 1; it must be true or false", 400},
		{strings.Repeat(" ", 3000), "more than 2000 bytes", 413},
		{input("input", "FP32", "[1,4]", "[3e38,3e38,3e38,3e38]"), "not finite", 400},
		{`{"inputs": [{"name": "input", "datatype": "FP32", "shape": [1,4], "data": [1,2,3,4]}], "outputs": [{"name": "label"}, {"name": "output"}, {"name": "label"}]}`,
			`outputs[2].name is \"label\" once more`, 400},
		{`{"id": "` + strings.Repeat("x", maxID+1) + `", "inputs": []}`, "id has 1025 bytes", 400},
		{`{"inputs": [{"name": "input", "datatype": "FP32", "shape": [` + strings.Repeat("1,", 16) + `4]}]}`, "more than 16 elements", 400},
		{`{"inputs": [` + strings.Repeat("{},", 16) + `{}]}`, "more than 16 elements", 400},
		{`{"inputs": {}}`, "inputs must be an array, not an object", 400},
	} {
		code, got := call(h, "POST", "/v2/models/signs/infer", c.body)
		var e struct{ Error string }
		if err := json.Unmarshal([]byte(got), &e); err != nil || e.Error == "" {
			t.Errorf("%.100s: %s is not an error of the protocol", c.body, got)
		}
		if code != c.code || !strings.Contains(got, c.want) {
			t.Errorf("%.100s: %d %s; want %d with %q", c.body, code, got, c.code, c.want)
		}
		if strings.Contains(got, "Go ") || strings.Contains(got, "json") {
			t.Errorf("%.100s: %s has words of this program", c.body, got)
		}
	}
}

// TestAnswerIsBounded: an answer that could be larger than allowed is refused before the model is asked; no answer is larger than reckoned.
func TestAnswerIsBounded(t *testing.T) {
	asked := 0
	r := replica(sums{before: func() { asked++ }}, func(c *Config) { c.MaxAnswer = 6000 })
	r.manifest.ClassNames = []string{"up", strings.Repeat("\x01", 40)}
	body := func(rows int, outputs string) string {
		return fmt.Sprintf(`{"id": "\u0001", "inputs": [{"name": "input", "datatype": "FP32", "shape": [%d, 4], "data": [%s]}]%s}`, rows, strings.TrimSuffix(strings.Repeat("-1e-30,", 4*rows), ","), outputs)
	}
	for _, tc := range []struct {
		rows    int
		outputs string
		code    int
	}{
		{4, `, "outputs": [{"name": "output"}, {"name": "probabilities"}]`, 200}, {4, "", 200}, {1, "", 200},
	} {
		code, got := call(r.Handler(), "POST", "/v2/models/signs/infer", body(tc.rows, tc.outputs))
		in, err := Decode([]byte(body(tc.rows, tc.outputs)), nil, r.manifest, 4)
		if err != nil || code != tc.code || int64(len(got)) > answerBytes(in, r.manifest) {
			t.Errorf("%d rows%s: %v, %d, %d bytes, reckoned %d: %s", tc.rows, tc.outputs, err, code, len(got), answerBytes(in, r.manifest), got)
		}
	}
	asked = 0
	r.MaxAnswer = 5000
	if code, got := call(r.Handler(), "POST", "/v2/models/signs/infer", body(4, "")); code != 400 || !strings.Contains(got, "fewer rows") || asked != 0 {
		t.Errorf("%d %s; the model was asked %d times", code, got, asked)
	}
	if code, got := call(r.Handler(), "POST", "/v2/models/signs/infer", body(4, `, "outputs": [{"name": "output"}]`)); code != 200 {
		t.Errorf("only the outputs: %d %s", code, got)
	}
}

// TestRequestIsReadWithinItsBounds: what repeats in a request does not take many times its bytes in memory.
func TestRequestIsReadWithinItsBounds(t *testing.T) {
	const size = 1 << 20
	for name, unit := range map[string][3]string{
		"inputs": {`{"inputs":[`, "{},", "{}]}"}, "outputs": {`{"outputs":[`, "{},", "{}]}"}, "shape": {`{"inputs":[{"shape":[`, "1,", "1]}]}"},
		"parameters": {`{"inputs":[{"parameters":{"a":1`, `,"b":1`, "}}]}"}, "keys": {`{"inputs":[{"a":1`, `,"b":1`, "}]}"}, "others": {`{"x":{"a":1`, `,"b":1`, "}}"},
		"data": {`{"inputs":[{"data":[1`, ",1", "]}]}"},
	} {
		text := []byte(unit[0] + strings.Repeat(unit[1], size/len(unit[1])) + unit[2])
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Decode(text, nil, manifest(), 4)
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; err == nil || took > size/8 {
			t.Errorf("%s: %v, %d bytes for %d", name, err, took, len(text))
		}
	}
}

// TestModelThatHangs: its request is answered by the deadline, those that wait at once, and the replica ends with the reason.
func TestModelThatHangs(t *testing.T) {
	free := make(chan struct{})
	var calls atomic.Int32
	r := replica(sums{before: func() {
		if calls.Add(1) == 2 {
			<-free
		}
	}}, func(c *Config) { c.Deadline = 2 * time.Second })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- r.Serve(t.Context(), l) }()
	ask := func() (int, string) {
		res, err := http.Post("http://"+l.Addr().String()+"/v2/models/signs/infer", "application/json",
			strings.NewReader(`{"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}`))
		if err != nil {
			return 0, err.Error()
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(b)
	}
	if code, text := ask(); code != 200 {
		t.Fatalf("before: %d %s", code, text)
	}
	var statuses sync.Map
	var all sync.WaitGroup
	for range 3 { // one hangs, two wait
		all.Go(func() {
			code, text := ask()
			n, _ := statuses.LoadOrStore(code, new(atomic.Int32))
			n.(*atomic.Int32).Add(1)
			if !strings.Contains(text, "started again") {
				t.Errorf("%d %s", code, text)
			}
		})
	}
	all.Wait()
	got := map[int]int32{}
	statuses.Range(func(code, n any) bool { got[code.(int)] = n.(*atomic.Int32).Load(); return true })
	if diff := cmp.Diff(map[int]int32{504: 1, 503: 2}, got); diff != "" {
		t.Error(diff)
	}
	if err := <-served; !errors.Is(err, ErrStuck) {
		t.Errorf("Serve: %v", err)
	}
	http.DefaultClient.CloseIdleConnections()
	close(free)
}

func TestMetadataAndHealth(t *testing.T) {
	h := replica(sums{}).Handler()
	for path, want := range map[string]string{
		"/v2/health/live":                   `{"live":true}`,
		"/v2/health/ready":                  `{"ready":true}`,
		"/v2/models/signs/ready":            `{"name":"signs","ready":true}`,
		"/v2/models/signs/versions/3":       `"versions":["3"]`,
		"/v2/models/signs":                  `"inputs":[{"name":"input","datatype":"FP32","shape":[-1,2,2]}]`,
		"/v2/models/signs/versions/3/ready": `"ready":true`,
	} {
		if code, got := call(h, "GET", path, ""); code != 200 || !strings.Contains(got, want) {
			t.Errorf("%s: %d %s", path, code, got)
		}
	}
	if code, got := call(h, "GET", "/v2/models/signs", ""); code != 200 || !strings.HasSuffix(got, `"properties":{"task":"classification","features":["a","b","c","d"],"classes":2,"class_names":["up","down"],"max_rows":1,"max_bytes":2000}}`) {
		t.Errorf("metadata without columns, classes or limits: %d %s", code, got)
	}
	for path, allow := range map[string]string{"/v2": "GET, HEAD", "/v2/models/signs": "GET, HEAD", "/v2/models/signs/versions/3/infer": "POST"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("PUT", path, nil))
		if w.Code != 405 || w.Header().Get("Allow") != allow {
			t.Errorf("PUT %s: %d, allowed are %q", path, w.Code, w.Header().Get("Allow"))
		}
	}
	for _, path := range []string{"/v2/models/other", "/v2/models/signs/versions/4", "/v2/models/signs/versions/4/ready", "/nothing"} {
		if code, got := call(h, "GET", path, ""); code != 404 || !strings.Contains(got, `"error"`) {
			t.Errorf("%s: %d %s", path, code, got)
		}
	}
}

const one = `{"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}`

func TestConcurrencyIsBounded(t *testing.T) {
	enter, leave := make(chan struct{}), make(chan struct{})
	r := replica(sums{before: func() { enter <- struct{}{}; <-leave }}, func(c *Config) { c.Concurrency, c.Queue = 2, 1 })
	h := r.Handler()
	codes := make(chan int, 3)
	var wg sync.WaitGroup
	ask := func() { wg.Go(func() { code, _ := call(h, "POST", "/v2/models/signs/infer", one); codes <- code }) }
	ask()
	ask()
	<-enter
	<-enter                // two are computed
	r.places <- struct{}{} // one waits
	if code, got := call(h, "POST", "/v2/models/signs/infer", one); code != 503 || !strings.Contains(got, "try again") {
		t.Errorf("the one too many: %d %s", code, got)
	}
	<-r.places
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.answer(ctx, []float32{1, 2, 3, 4}, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("a client that left: %v", err)
	}
	leave <- struct{}{}
	leave <- struct{}{}
	wg.Wait()
	if a, b := <-codes, <-codes; a != 200 || b != 200 {
		t.Errorf("the two that were computed: %d, %d", a, b)
	}
}

func TestStopFinishesWhatWasTaken(t *testing.T) {
	enter, leave := make(chan struct{}), make(chan struct{})
	r := replica(sums{before: func() { enter <- struct{}{}; <-leave }})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- r.Serve(ctx, listener) }()
	url := "http://" + listener.Addr().String() + "/v2/models/signs/infer"
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	type answer struct {
		code int
		body string
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		res, err := client.Post(url, "application/json", strings.NewReader(one))
		if err != nil {
			got <- answer{err: err}
			return
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		got <- answer{res.StatusCode, string(b), err}
	}()
	<-enter
	cancel()
	// The listener is closed before the request is done.
	for {
		c, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			break
		}
		c.Close()
	}
	leave <- struct{}{}
	if a := <-got; a.err != nil || a.code != 200 || !strings.Contains(a.body, "output") {
		t.Errorf("the request in flight: %+v", a)
	}
	if err := <-served; err != nil {
		t.Errorf("serving ended with %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(one))
	f.Add([]byte(`{"inputs": [{"name": "input", "datatype": "FP32", "shape": [2,2,2], "data": [[[1, 2], [3, 4]], [[-1, -1], [0, 0]]]}]}`))
	f.Add([]byte(`{"inputs": [{"name": "input", "datatype": "FP32", "shape": [1,4], "data": [[],[1]]}]}`))
	f.Add([]byte(`{"inputs": [{"name": "input", "datatype": "FP32", "shape": [1,4], "data": [1,{"a":[2]},3,4]}]}`))
	f.Add([]byte(`{"inputs": [{"name": "input", "datatype": "FP32", "shape": [1,4], "data": ["]",2,3,4]}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Decode(b, nil, manifest(), 4)
		if err != nil {
			return
		}
		if r.Rows < 1 || r.Rows > 4 || len(r.Raw) != 4*r.Rows || len(r.Outputs) == 0 {
			t.Fatalf("accepted %+v", r)
		}
		// The slow, obvious way: let encoding/json read it and flatten.
		var in struct {
			Inputs []struct{ Data any } `json:"inputs"`
		}
		if err := json.NewDecoder(bytes.NewReader(b)).Decode(&in); err != nil {
			t.Fatal(err)
		}
		var flat []float32
		var walk func(any)
		walk = func(v any) {
			switch v := v.(type) {
			case []any:
				for _, e := range v {
					walk(e)
				}
			case float64:
				flat = append(flat, float32(v))
			default:
				t.Fatalf("accepted %T", v)
			}
		}
		walk(in.Inputs[0].Data)
		if len(flat) != len(r.Raw) {
			t.Fatalf("decoded %v, obviously %v", r.Raw, flat)
		}
		for i := range flat {
			if d := flat[i] - r.Raw[i]; d*d > 1e-12*(1+flat[i]*flat[i]) {
				t.Fatalf("decoded %v, obviously %v: %s", r.Raw, flat, cmp.Diff(flat, r.Raw))
			}
		}
	})
}

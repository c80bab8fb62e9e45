package serve

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"tandem.dev/proto/inference"
	"tandem.dev/storage/dataset"
)

func little(values ...float32) string {
	var b []byte
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return string(b)
}

// ask sends JSON and what follows it, as tritonclient.http does: with the length of the JSON in the header where something follows.
func ask(r *Replica, text, data string) *httptest.ResponseRecorder {
	req := httptest.NewRequest("POST", "/v2/models/signs/infer", strings.NewReader(text+data))
	if data != "" {
		req.Header.Set(inference.HeaderLength, strconv.Itoa(len(text)))
	}
	w := httptest.NewRecorder()
	r.Handler().ServeHTTP(w, req)
	return w
}

// tensor is an output as tritonclient reads it: binary_data_size bytes of what follows the JSON, in the order of the outputs, or data.
func tensor(t *testing.T, w *httptest.ResponseRecorder, name string) any {
	t.Helper()
	text, rest := w.Body.Bytes(), []byte(nil)
	if h := w.Header().Get(inference.HeaderLength); h != "" {
		n, err := strconv.Atoi(h)
		if err != nil {
			t.Fatal(err)
		}
		text, rest = text[:n], text[n:]
	}
	var res struct {
		Outputs []struct {
			Name, Datatype string
			Shape          []int
			Parameters     map[string]int
			Data           any
		}
	}
	if err := json.Unmarshal(text, &res); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	var found any
	for _, o := range res.Outputs {
		size, follows := o.Parameters["binary_data_size"]
		b := rest[:size]
		rest = rest[size:]
		if o.Name != name {
			continue
		}
		found = o.Data
		if !follows {
			continue
		}
		var got []any
		for len(b) > 0 {
			switch o.Datatype {
			case "FP32":
				got, b = append(got, float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))), b[4:]
			case "INT64":
				got, b = append(got, float64(binary.LittleEndian.Uint64(b))), b[8:]
			case "BYTES":
				n := 4 + binary.LittleEndian.Uint32(b)
				got, b = append(got, string(b[4:n])), b[n:]
			}
		}
		found = got
	}
	if len(rest) != 0 {
		t.Errorf("%d bytes belong to no output", len(rest))
	}
	return found
}

// TestBinaryTensors: the bytes that tritonclient.http sends with its defaults, and each mixture of JSON and binary, give the same answer.
func TestBinaryTensors(t *testing.T) {
	r := replica(sums{})
	const head = `{"id":"x",%s"inputs":[{"name":"input","shape":[2,2,2],"datatype":"FP32",%s}]%s}`
	size, data, plain := `"parameters":{"binary_data_size":32}`, little(1, 2, 3, 4, -1, -1, 0, 0), `"data":[1,2,3,4,-1,-1,0,0]`
	all := `"parameters":{"binary_data_output":true},`
	outputs := func(first, second string) string {
		return fmt.Sprintf(`,"outputs":[{"name":"label","parameters":{%s}},{"name":"output","parameters":{%s}}]`, first, second)
	}
	on, off := `"binary_data":true`, `"binary_data":false`
	for name, tc := range map[string]struct {
		text, data string
		binary     bool // some of the answer
		three      bool // all outputs
	}{
		"defaults":                       {fmt.Sprintf(head, all, size, ""), data, true, true},
		"binary in, named outputs":       {fmt.Sprintf(head, "", size, outputs(on, on)), data, true, false},
		"binary in, JSON out":            {fmt.Sprintf(head, "", size, outputs(off, off)), data, false, false},
		"binary in, outputs mixed":       {fmt.Sprintf(head, "", size, outputs(on, off)), data, true, false},
		"binary in, nothing said of out": {fmt.Sprintf(head, "", size, ""), data, false, true},
		"JSON in, all out binary":        {fmt.Sprintf(head, all, plain, ""), "", true, true},
		"JSON in, one of all is not":     {fmt.Sprintf(head, all, plain, outputs(off, "")), "", true, false},
		"JSON":                           {fmt.Sprintf(head, "", plain, ""), "", false, true},
		"no data beside binary":          {fmt.Sprintf(head, "", size+`,"data":null`, ""), data, false, true},
	} {
		w := ask(r, tc.text, tc.data)
		if binary := w.Header().Get(inference.HeaderLength) != ""; w.Code != 200 || binary != tc.binary || binary != (w.Header().Get("Content-Type") == "application/octet-stream") {
			t.Errorf("%s: %d %v %s", name, w.Code, w.Header(), w.Body)
			continue
		}
		if w.Header().Get("Content-Length") != strconv.Itoa(w.Body.Len()) || !strings.HasPrefix(w.Body.String(), `{"id":"x","model_name":"signs","model_version":"3","outputs":[`) {
			t.Errorf("%s: %v %s", name, w.Header(), w.Body)
		}
		if diff := cmp.Diff([]any{5., -5., -1., 1.}, tensor(t, w, "output")) + cmp.Diff([]any{"up", "down"}, tensor(t, w, "label")); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if got, _ := tensor(t, w, "probabilities").([]any); (len(got) == 4) != tc.three {
			t.Errorf("%s: probabilities %v", name, got)
		}
	}
	// Class numbers, where classes have no names.
	r.manifest.ClassNames, r.manifest.Outputs[2].Datatype = nil, "INT64"
	if diff := cmp.Diff([]any{0., 1.}, tensor(t, ask(r, fmt.Sprintf(head, all, size, ""), data), "label")); diff != "" {
		t.Error(diff)
	}
}

// TestBinarySizes: a request whose sizes do not agree is refused, with both.
func TestBinarySizes(t *testing.T) {
	r := replica(sums{})
	text := func(parameters string) string {
		return `{"inputs":[{"name":"input","shape":[1,4],"datatype":"FP32",` + parameters + `}]}`
	}
	good, data := text(`"parameters":{"binary_data_size":16}`), little(1, 2, 3, 4)
	for name, tc := range map[string]struct{ text, data, header, want string }{
		"too few bytes":         {good, data[:15], "", "binary_data_size is 16, but 15 bytes follow the JSON"},
		"too many bytes":        {good, data + "x", "", "binary_data_size is 16, but 17 bytes follow"},
		"size is not the shape": {text(`"parameters":{"binary_data_size":12}`), data[:12], "", "binary_data_size is 12; shape [1 4] of FP32 needs 16 bytes"},
		"size too large":        {text(`"parameters":{"binary_data_size":9223372036854775807}`), data, "", "needs 16 bytes"},
		"size is negative":      {text(`"parameters":{"binary_data_size":-16}`), data, "", "must be a number of bytes"},
		"size is text":          {text(`"parameters":{"binary_data_size":"16"}`), data, "", "must be a number of bytes"},
		"size is null":          {text(`"parameters":{"binary_data_size":null}`), data, "", "must be a number of bytes"},
		"data twice":            {text(`"data":[1,2,3,4],"parameters":{"binary_data_size":16}`), data, "", "data and binary_data_size: send one"},
		"nobody's bytes":        {text(`"data":[1,2,3,4]`), data, "", "16 bytes follow the JSON, but no input has binary_data_size"},
		"header beyond body":    {good, data, strconv.Itoa(len(good) + 17), "must be how many of the"},
		"header is zero":        {good, data, "0", "must be how many of the"},
		"header is negative":    {good, data, "-5", "must be how many of the"},
		"header is text":        {good, data, "x", `is \"x\"`},
		"header of before":      {text(`"data":[1,2,3,4]`), "", "40", "by the header Inference-Header-Content-Length the first 40 of 78 bytes are JSON"},
		"not a number":          {good, little(1, 2, float32(math.NaN()), 4), "", "element 2 is NaN: send finite numbers"},
		"infinite":              {good, little(1, float32(math.Inf(-1)), 3, 4), "", "element 1 is -Inf"},
		"FP64":                  {strings.Replace(good, "FP32", "FP64", 1), data, "", "the model takes FP32"},
	} {
		req := httptest.NewRequest("POST", "/v2/models/signs/infer", strings.NewReader(tc.text+tc.data))
		req.Header.Set(inference.HeaderLength, strconv.Itoa(len(tc.text)))
		if tc.header != "" {
			req.Header.Set(inference.HeaderLength, tc.header)
		}
		w := httptest.NewRecorder()
		r.Handler().ServeHTTP(w, req)
		if w.Code != 400 || !strings.Contains(w.Body.String(), tc.want) {
			t.Errorf("%s: %d %s, want %s", name, w.Code, w.Body, tc.want)
		}
	}
	// A header that covers the whole body, as of a client that keeps one dictionary of headers, is JSON.
	req := httptest.NewRequest("POST", "/v2/models/signs/infer", strings.NewReader(one))
	req.Header.Set(inference.HeaderLength, strconv.Itoa(len(one)))
	w := httptest.NewRecorder()
	if r.Handler().ServeHTTP(w, req); w.Code != 200 || w.Header().Get(inference.HeaderLength) != "" {
		t.Errorf("a header that covers the body: %d %v", w.Code, w.Header())
	}
}

// TestBinaryAnswerIsBounded: a binary answer has no more bytes than are reckoned, which are fewer than those of JSON.
func TestBinaryAnswerIsBounded(t *testing.T) {
	r := replica(sums{})
	for _, outputs := range []string{"output", "probabilities", "label"} {
		text := `{"inputs":[{"name":"input","shape":[4,4],"datatype":"FP32","data":[` + strings.Repeat("1,", 15) + `1]}],"outputs":[{"name":"` + outputs + `","parameters":{"binary_data":`
		in, err := Decode([]byte(text+`true}}]}`), nil, r.manifest, 4)
		asJSON, err2 := Decode([]byte(text+`false}}]}`), nil, r.manifest, 4)
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		w := ask(r, text+`true}}]}`, "")
		if n := answerBytes(in, r.manifest); w.Code != 200 || int64(w.Body.Len()) > n || n >= answerBytes(asJSON, r.manifest) {
			t.Errorf("%s: %d, %d bytes, reckoned %d, of JSON %d", outputs, w.Code, w.Body.Len(), n, answerBytes(asJSON, r.manifest))
		}
	}
}

// TestRowsOfMetadata: as many rows as the metadata name are answered, in the longest form, and no limit allows more.
func TestRowsOfMetadata(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"rows":   func(c *Config) { c.MaxRows, c.MaxBytes = 7, 1<<20 },
		"bytes":  func(c *Config) { c.MaxRows, c.MaxBytes = 1000, 20_000 },
		"answer": func(c *Config) { c.MaxRows, c.MaxBytes, c.MaxAnswer = 1000, 1<<20, 20_000 },
	} {
		r := replica(sums{}, change)
		rows := r.rows()
		if want := map[string]int{"rows": 7, "bytes": 152, "answer": 107}[name]; rows != want {
			t.Errorf("%s: %d rows, want %d", name, rows, want)
		}
		values := strings.TrimSuffix(strings.Repeat("-1.1754944e-38,", 4*rows), ",")
		text := fmt.Sprintf(`{"id":"%s","inputs":[{"name":"input","shape":[%d,4],"datatype":"FP32","data":[%s]}]}`, strings.Repeat("x", maxID), rows, values)
		if w := ask(r, text, ""); w.Code != 200 {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}

// TestTokens: a model of text is not asked for what is not a byte.
func TestTokens(t *testing.T) {
	m := manifest()
	m.Task, m.Classes = dataset.TaskLanguage, 256
	for value, good := range map[string]bool{"0": true, "255": true, "256": false, "-1": false, "1.5": false} {
		_, err := Decode([]byte(`{"inputs":[{"name":"input","shape":[1,4],"datatype":"FP32","data":[0,1,2,`+value+`]}]}`), nil, m, 4)
		if (err == nil) != good || err != nil && !strings.Contains(err.Error(), "element 3 is "+value+"; the model takes bytes, whole numbers from 0 to 255") {
			t.Errorf("%s: %v", value, err)
		}
	}
}

// TestClientHangsUp: a client that goes while its request waits is not a failure of the model.
func TestClientHangsUp(t *testing.T) {
	var log strings.Builder
	r := replica(sums{})
	r.log = zerolog.New(&log)
	r.compute <- struct{}{} // another request is computed
	ctx, leave := context.WithCancel(t.Context())
	leave()
	w := httptest.NewRecorder()
	r.Handler().ServeHTTP(w, httptest.NewRequestWithContext(ctx, "POST", "/v2/models/signs/infer", strings.NewReader(one)))
	if log.Len() != 0 || w.Body.Len() != 0 {
		t.Errorf("the log says %q, the answer %q", log.String(), w.Body)
	}
}

// FuzzBinary: whatever follows the JSON is the input bit for bit, or refused.
func FuzzBinary(f *testing.F) {
	f.Add(1, 16, little(1, 2, 3, 4))
	f.Add(2, 16, little(1, 2, 3, 4))
	f.Add(1, 16, little(1, 2, 3, float32(math.NaN())))
	f.Fuzz(func(t *testing.T, rows, size int, data string) {
		text := fmt.Sprintf(`{"inputs":[{"name":"input","shape":[%d,4],"datatype":"FP32","parameters":{"binary_data_size":%d}}]}`, rows, size)
		head, tail, err := split([]byte(text+data), strconv.Itoa(len(text)))
		if err != nil {
			t.Fatal(err)
		}
		r, err := Decode(head, tail, manifest(), 4)
		if err != nil {
			return
		}
		if got := little(r.Raw...); got != data || r.Rows != rows || size != len(data) {
			t.Errorf("%d rows of %q, want %d of %q", r.Rows, got, rows, data)
		}
	})
}

package serve

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"

	"tandem.dev/worker/publish"
)

// Handler speaks the REST form of the Open Inference Protocol v2. Errors have the form
// {"error": "..."}.
func (r *Replica) Handler() http.Handler {
	mux := http.NewServeMux()
	live := func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, map[string]bool{"live": true}) }
	ready := func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, map[string]bool{"ready": true}) }
	mux.HandleFunc("GET /v2", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string]any{"name": "tandem", "version": r.manifest.Libtorch, "extensions": []string{}})
	})
	mux.HandleFunc("GET /v2/health/live", live)
	mux.HandleFunc("GET /v2/health/ready", ready)
	for _, path := range []string{"/v2/models/{model}", "/v2/models/{model}/versions/{version}"} {
		mux.HandleFunc("GET "+path, r.named(r.metadata))
		mux.HandleFunc("GET "+path+"/ready", r.named(func(w http.ResponseWriter, _ *http.Request) {
			reply(w, http.StatusOK, map[string]any{"name": r.Model, "ready": true})
		}))
		mux.HandleFunc("POST "+path+"/infer", r.named(r.infer))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, req *http.Request) {
		fail(w, http.StatusNotFound, fmt.Errorf("there is no %s %s; see /v2/models/%s", req.Method, req.URL.Path, r.Model))
	})
	return mux
}

// named passes only requests for this model and version on.
func (r *Replica) named(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		if name := req.PathValue("model"); name != r.Model {
			fail(w, http.StatusNotFound, fmt.Errorf("model %q is not served here; this is %q", name, r.Model))
			return
		}
		if v := req.PathValue("version"); v != "" && v != r.Version {
			fail(w, http.StatusNotFound, fmt.Errorf("version %s of model %q is not served here; this is version %s", v, r.Model, r.Version))
			return
		}
		next(w, req)
	}
}

func (r *Replica) metadata(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, map[string]any{
		"name": r.Model, "versions": []string{r.Version}, "platform": "pytorch_torchscript",
		"inputs": []publish.Signature{r.manifest.Input}, "outputs": r.manifest.Outputs,
	})
}

func (r *Replica) infer(w http.ResponseWriter, req *http.Request) {
	if req.Header.Get("Inference-Header-Content-Length") != "" {
		fail(w, http.StatusBadRequest, errors.New("the binary tensor extension is not supported; send data as JSON numbers"))
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, r.MaxBytes))
	if err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			fail(w, http.StatusRequestEntityTooLarge, fmt.Errorf("the request has more than %d bytes; send fewer rows at a time", r.MaxBytes))
			return
		}
		fail(w, http.StatusBadRequest, fmt.Errorf("read the request: %w", err))
		return
	}
	in, err := Decode(body, r.manifest, r.MaxRows)
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	if n := answerBytes(in, r.manifest); n > r.MaxAnswer {
		fail(w, http.StatusBadRequest, fmt.Errorf("the answer could have %d bytes, more than the %d that are allowed; send fewer rows at a time, or name the outputs that you need", n, r.MaxAnswer))
		return
	}
	out, err := r.answer(req.Context(), in.Raw, in.Rows)
	switch {
	case errors.Is(err, errLate):
		r.log.Error().Int("rows", in.Rows).Int64("dur_ms", r.Deadline.Milliseconds()).Msg("the model did not come back; the replica ends")
		fail(w, http.StatusGatewayTimeout, err)
		return
	case errors.Is(err, errBusy), errors.Is(err, errRestart):
		w.Header().Set("Retry-After", "1")
		fail(w, http.StatusServiceUnavailable, err)
		return
	case err != nil:
		r.log.Error().Err(err).Int("rows", in.Rows).Msg("inference failed")
		fail(w, http.StatusInternalServerError, err)
		return
	}
	tensors, err := r.outputs(in, out)
	if err != nil {
		fail(w, http.StatusBadRequest, err) // of a sound model: its numbers were finite on the test split
		return
	}
	response := map[string]any{"model_name": r.Model, "model_version": r.Version, "outputs": tensors}
	if in.ID != "" {
		response["id"] = in.ID
	}
	reply(w, http.StatusOK, response)
}

type outputTensor struct {
	Name     string  `json:"name"`
	Datatype string  `json:"datatype"`
	Shape    []int64 `json:"shape"`
	Data     any     `json:"data"`
}

// outputs makes the tensors that a request wants of what the model gave.
func (r *Replica) outputs(in Request, out []float32) ([]outputTensor, error) {
	for _, v := range out {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return nil, errors.New("the model gave a number that is not finite; the input may be far from the training data")
		}
	}
	rows, width := in.Rows, r.manifest.Width()
	var all []outputTensor
	for _, name := range in.Outputs {
		for _, s := range r.manifest.Outputs {
			if s.Name != name {
				continue
			}
			t := outputTensor{Name: name, Datatype: s.Datatype, Shape: append([]int64{int64(rows)}, s.Shape[1:]...)}
			switch name {
			case "output":
				t.Data = out
			case "probabilities":
				p := make([]float32, len(out))
				for i := range rows {
					publish.Softmax(p[i*width:(i+1)*width], out[i*width:(i+1)*width])
				}
				t.Data = p
			case "label":
				t.Data = r.labels(out, rows, width)
			}
			all = append(all, t)
		}
	}
	return all, nil
}

// labels are class numbers, or the names where the classes have some.
func (r *Replica) labels(out []float32, rows, width int) any {
	numbers := make([]int64, rows)
	names := make([]string, rows)
	for i := range rows {
		best := publish.Argmax(out[i*width : (i+1)*width])
		numbers[i] = int64(best)
		if len(r.manifest.ClassNames) > 0 {
			names[i] = r.manifest.ClassNames[best]
		}
	}
	if len(r.manifest.ClassNames) > 0 {
		return names
	}
	return numbers
}

func fail(w http.ResponseWriter, code int, err error) {
	reply(w, code, map[string]string{"error": err.Error()})
}

func reply(w http.ResponseWriter, code int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		code, b = http.StatusInternalServerError, []byte(`{"error":"the answer cannot be written as JSON"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(code)
	_, _ = w.Write(b) // a client that went away needs no answer
}

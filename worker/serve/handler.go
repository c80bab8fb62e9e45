package serve

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"

	"tandem.dev/proto/inference"
	"tandem.dev/storage/version"
)

// Handler speaks the REST form of the Open Inference Protocol v2 with binary tensors. Errors have the form {"error": "..."}.
func (r *Replica) Handler() http.Handler {
	mux := http.NewServeMux()
	inference.Handle(mux, "GET", "/v2", func(w http.ResponseWriter, _ *http.Request) {
		inference.Answer(w, http.StatusOK, map[string]any{"name": "tandem", "version": r.manifest.Libtorch, "extensions": inference.Extensions()})
	})
	inference.Handle(mux, "GET", "/v2/health/live", func(w http.ResponseWriter, _ *http.Request) {
		inference.Answer(w, http.StatusOK, map[string]bool{"live": true})
	})
	inference.Handle(mux, "GET", "/v2/health/ready", func(w http.ResponseWriter, _ *http.Request) {
		inference.Answer(w, http.StatusOK, map[string]bool{"ready": true})
	})
	for _, path := range inference.Models() {
		inference.Handle(mux, "GET", path, r.named(r.metadata))
		inference.Handle(mux, "GET", path+"/ready", r.named(func(w http.ResponseWriter, _ *http.Request) {
			inference.Answer(w, http.StatusOK, map[string]any{"name": r.Model, "ready": true})
		}))
		inference.Handle(mux, "POST", path+"/infer", r.named(r.infer))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, req *http.Request) {
		inference.Fail(w, http.StatusNotFound, fmt.Sprintf("%s not found; see /v2/models/%s", req.URL.Path, r.Model))
	})
	return mux
}

// named passes only requests for this model and version on.
func (r *Replica) named(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		if name := req.PathValue("model"); name != r.Model {
			inference.Fail(w, http.StatusNotFound, fmt.Sprintf("model %q is not served here; this is %q", name, r.Model))
			return
		}
		if v := req.PathValue("version"); v != "" && v != r.Version {
			inference.Fail(w, http.StatusNotFound, fmt.Sprintf("version %s of model %q is not served here; this is version %s", v, r.Model, r.Version))
			return
		}
		next(w, req)
	}
}

// metadata is what a client has to know to ask the model and to read its answers.
type metadata struct {
	Name       string              `json:"name"`
	Versions   []string            `json:"versions"`
	Platform   string              `json:"platform"`
	Inputs     []version.Signature `json:"inputs"`
	Outputs    []version.Signature `json:"outputs"`
	Properties properties          `json:"properties"`
}

// properties are what the protocol has no words for.
type properties struct {
	Task       string   `json:"task"`
	Features   []string `json:"features"`              // columns of a row, in the order of the input's values, which are raw
	Classes    int      `json:"classes,omitempty"`     // values of output and probabilities a row
	ClassNames []string `json:"class_names,omitempty"` // in their order; absent if the classes are 0 to classes-1 themselves
	MaxRows    int      `json:"max_rows"`              // of a request, whatever its form and its outputs
	MaxBytes   int64    `json:"max_bytes"`             // of its body, unpacked
}

func (r *Replica) metadata(w http.ResponseWriter, _ *http.Request) {
	m := r.manifest
	inference.Answer(w, http.StatusOK, metadata{
		Name: r.Model, Versions: []string{r.Version}, Platform: "pytorch_torchscript", Inputs: []version.Signature{m.Input}, Outputs: m.Outputs,
		Properties: properties{string(m.Task), m.Features, m.Classes, m.ClassNames, r.rows(), r.MaxBytes},
	})
}

func (r *Replica) infer(w http.ResponseWriter, req *http.Request) {
	in, status, err := r.read(w, req)
	if err != nil {
		inference.Fail(w, status, err.Error())
		return
	}
	out, err := r.answer(req.Context(), in.Raw, in.Rows)
	switch {
	case errors.Is(err, errLate):
		r.log.Error().Int("rows", in.Rows).Int64("dur_ms", r.Deadline.Milliseconds()).Msg("the model did not come back; the replica ends")
		inference.Fail(w, http.StatusGatewayTimeout, err.Error())
		return
	case errors.Is(err, errBusy), errors.Is(err, errRestart):
		inference.Fail(w, http.StatusServiceUnavailable, err.Error())
		return
	case err != nil && req.Context().Err() != nil: // nobody waits for an answer, and nothing is wrong with the model
		return
	case err != nil:
		r.log.Error().Err(err).Int("rows", in.Rows).Msg("inference failed")
		inference.Fail(w, http.StatusInternalServerError, err.Error())
		return
	}
	tensors, err := r.outputs(in, out)
	if err != nil {
		inference.Fail(w, http.StatusBadRequest, err.Error()) // of a sound model: its numbers were finite on the test split
		return
	}
	inferResponse{in.ID, r.Model, r.Version, tensors}.write(w, in.Outputs)
}

// read reads a request and says with which status it is refused, if it is.
func (r *Replica) read(w http.ResponseWriter, req *http.Request) (Request, int, error) {
	var whole bytes.Buffer
	if n := req.ContentLength; n > 0 && n <= r.MaxBytes { // as the gateway says: one that grows would take more than twice as much
		whole.Grow(int(n) + bytes.MinRead)
	}
	_, err := whole.ReadFrom(http.MaxBytesReader(w, req.Body, r.MaxBytes))
	if err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return Request{}, http.StatusRequestEntityTooLarge, fmt.Errorf("the request has more than %d bytes; send fewer rows at a time", r.MaxBytes)
		}
		return Request{}, http.StatusBadRequest, fmt.Errorf("read the request: %w", err)
	}
	body := whole.Bytes()
	text, data, err := split(body, req.Header.Get(inference.HeaderLength))
	if err != nil {
		return Request{}, http.StatusBadRequest, err
	}
	in, err := Decode(text, data, r.manifest, r.MaxRows)
	if err != nil {
		if len(text) < len(body) {
			err = fmt.Errorf("%w (by the header %s the first %d of %d bytes are JSON)", err, inference.HeaderLength, len(text), len(body))
		}
		return Request{}, http.StatusBadRequest, err
	}
	if n := answerBytes(in, r.manifest); n > r.MaxAnswer {
		return Request{}, http.StatusBadRequest, fmt.Errorf("the answer could have %d bytes, more than the %d that are allowed; send fewer rows at a time, or name the outputs that you need", n, r.MaxAnswer)
	}
	return in, 0, nil
}

package serve

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"slices"
	"strconv"

	"tandem.dev/proto/inference"
	"tandem.dev/storage/version"
)

type outputTensor struct {
	Name       string           `json:"name"`
	Datatype   string           `json:"datatype"`
	Shape      []int64          `json:"shape"`
	Parameters map[string]int64 `json:"parameters,omitempty"`
	Data       any              `json:"data,omitempty"`
}

type inferResponse struct {
	ID      string         `json:"id,omitempty"`
	Model   string         `json:"model_name"`
	Version string         `json:"model_version"`
	Outputs []outputTensor `json:"outputs"`
}

// write answers a request: JSON, and behind it the data of the outputs that are wanted so.
func (res inferResponse) write(w http.ResponseWriter, wanted []Output) {
	var data []byte
	for i, o := range wanted {
		if !o.Binary {
			continue
		}
		before := len(data)
		data = appendBinary(data, res.Outputs[i].Data)
		res.Outputs[i].Parameters, res.Outputs[i].Data = map[string]int64{"binary_data_size": int64(len(data) - before)}, nil
	}
	text, err := json.Marshal(res)
	if err != nil || len(data) == 0 {
		inference.Answer(w, http.StatusOK, res)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set(inference.HeaderLength, strconv.Itoa(len(text)))
	w.Header().Set("Content-Length", strconv.Itoa(len(text)+len(data)))
	if _, err := w.Write(text); err == nil { // else the client is gone
		_, _ = w.Write(data)
	}
}

// frame is more than the bytes of a request or an answer that are not values, but for an id.
const frame = 4 << 10

// answerBytes bounds an answer from above, before any of it is made.
func answerBytes(in Request, m version.Manifest) int64 {
	return int64(len(in.ID))*6 + frame + int64(in.Rows)*rowBytes(in.Outputs, m)
}

// rowBytes is how many bytes a row of outputs can have in an answer.
func rowBytes(outputs []Output, m version.Manifest) int64 {
	sum := int64(0)
	for _, o := range outputs {
		i := slices.IndexFunc(m.Outputs, func(s version.Signature) bool { return s.Name == o.Name })
		values := int64(1)
		for _, d := range m.Outputs[i].Shape[1:] {
			values *= d
		}
		sum += values * valueBytes(m.Outputs[i], o.Binary, m.ClassNames)
	}
	return sum
}

// rows is how many rows a request can always have, whatever its form and its outputs.
func (r *Replica) rows() int {
	var all []Output
	for _, s := range r.manifest.Outputs {
		all = append(all, Output{Name: s.Name})
	}
	asked := (r.MaxBytes - frame - 6*maxID) / (textBytes * int64(r.manifest.Dim()))
	answered := (r.MaxAnswer - frame - 6*maxID) / rowBytes(all, r.manifest)
	return int(max(1, min(int64(r.MaxRows), asked, answered)))
}

// textBytes is how many bytes a float32 can have in JSON with its comma, such as -1.1754944e-38.
const textBytes = 16

// valueBytes is how many bytes a value of an output can have in an answer.
func valueBytes(s version.Signature, binary bool, classes []string) int64 {
	switch {
	case s.Datatype == "BYTES":
		longest := int64(0)
		for _, name := range classes {
			longest = max(longest, int64(len(name)))
		}
		if binary {
			return 4 + longest
		}
		return 6*longest + 3 // a byte can become \u00xx
	case !binary:
		return textBytes
	case s.Datatype == "INT64":
		return 8
	}
	return 4
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
	for _, wanted := range in.Outputs {
		for _, s := range r.manifest.Outputs {
			if s.Name != wanted.Name {
				continue
			}
			t := outputTensor{Name: s.Name, Datatype: s.Datatype, Shape: append([]int64{int64(rows)}, s.Shape[1:]...)}
			switch s.Name {
			case "output":
				t.Data = out
			case "probabilities":
				p := make([]float32, len(out))
				for i := range rows {
					softmax(p[i*width:(i+1)*width], out[i*width:(i+1)*width])
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
		best := argmax(out[i*width : (i+1)*width])
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

// softmax turns the outputs of a classifier for one row into probabilities.
func softmax(dst []float32, out []float32) {
	top := math.Inf(-1)
	for _, v := range out {
		top = max(top, float64(v))
	}
	sum := 0.0
	for _, v := range out {
		sum += math.Exp(float64(v) - top)
	}
	for i, v := range out {
		dst[i] = float32(math.Exp(float64(v)-top) / sum)
	}
}

// argmax returns the place of the largest output, the first of equal ones.
func argmax(out []float32) int {
	best := 0
	for i, v := range out {
		if v > out[best] {
			best = i
		}
	}
	return best
}

package inference

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
)

// Handle mounts an endpoint of the protocol. Another method at its path is answered with 405 and says which one it is.
func Handle(mux *http.ServeMux, method, path string, h http.HandlerFunc) {
	allowed := method
	if method == http.MethodGet {
		allowed = "GET, HEAD" // what ServeMux takes for GET
	}
	mux.HandleFunc(method+" "+path, h)
	mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", allowed)
		Fail(w, http.StatusMethodNotAllowed, fmt.Sprintf("%s is not allowed for %s: use %s", r.Method, r.URL.Path, allowed))
	})
}

// Models are the paths at which a model is; {version} is its number.
func Models() []string {
	return []string{"/v2/models/{model}", "/v2/models/{model}/versions/{version}"}
}

// Answer writes v as JSON.
func Answer(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"error":"the answer cannot be written as JSON"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b) // the client is gone: nobody to tell
}

// Fail answers as the protocol does: {"error": message}. Who gets 429 or 503 may try again in a second.
func Fail(w http.ResponseWriter, status int, message string) {
	if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	Answer(w, status, map[string]string{"error": message})
}

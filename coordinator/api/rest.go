package api

import (
	"fmt"
	"net/http"
	"strings"

	"connectrpc.com/connect"

	"tandem.dev/coordinator/rest"
)

// overREST answers what the transcoder would answer in another form: paths and methods that mean nothing, and bodies where none are read. Errors
// that it writes before it has read the request get the type that they have.
func (a *API) overREST(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch name := a.router.Find(r); {
		case name == "":
			allowed := a.router.MethodsAt(r)
			if len(allowed) == 0 {
				rest.WriteStatus(w, http.StatusNotFound, connect.CodeNotFound, fmt.Sprintf("nothing is at %q", r.URL.Path))
				return
			}
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			rest.WriteStatus(w, http.StatusMethodNotAllowed, connect.CodeUnimplemented,
				fmt.Sprintf("%s is not a method of %q; use %s", r.Method, r.URL.Path, strings.Join(allowed, " or ")))
		case r.ContentLength != 0 && (r.Method == http.MethodGet || r.Method == http.MethodDelete):
			writeError(w, r, invalid(fmt.Sprintf("%s takes no body: give its fields as parameters behind the path", r.Method)))
		default:
			next.ServeHTTP(typed{w}, r)
		}
	})
}

// typed corrects the type of an error: the transcoder may have said that of the inner answer by then.
type typed struct{ http.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (t typed) WriteHeader(status int) {
	if h := t.Header(); status >= http.StatusMultipleChoices && h.Get("Content-Type") == "application/proto" {
		h.Set("Content-Type", "application/json")
	}
	t.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController, with which the transcoder flushes.
func (t typed) Unwrap() http.ResponseWriter { return t.ResponseWriter }

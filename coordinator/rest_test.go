package coordinator

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// restPaths are the methods and paths of REST, with what does not exist for each name.
func restPaths(t *testing.T) (all [][2]string) {
	t.Helper()
	names := regexp.MustCompile(`\{[^}]*\}`)
	protoregistry.GlobalFiles.RangeFilesByPackage("tandem.v1", func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			methods := f.Services().Get(i).Methods()
			for j := range methods.Len() {
				rule, _ := proto.GetExtension(methods.Get(j).Options(), annotations.E_Http).(*annotations.HttpRule)
				for _, r := range append([]*annotations.HttpRule{rule}, rule.GetAdditionalBindings()...) {
					for method, path := range map[string]string{
						http.MethodGet: r.GetGet(), http.MethodPost: r.GetPost(), http.MethodPut: r.GetPut(), http.MethodDelete: r.GetDelete(), http.MethodPatch: r.GetPatch(),
					} {
						if path != "" {
							all = append(all, [2]string{method, names.ReplaceAllString(path, "nothing-9")})
						}
					}
				}
			}
		}
		return true
	})
	if len(all) < 40 {
		t.Fatalf("%d paths of REST", len(all))
	}
	return all
}

// TestErrorsOfREST: a refused call of every path of REST, whoever refuses it, is answered in one form: the same keys, and the code as a word.
func TestErrorsOfREST(t *testing.T) {
	r := startOne(t)
	known := map[string]bool{}
	for c := connect.CodeCanceled; c <= connect.CodeUnauthenticated; c++ {
		known[c.String()] = true
	}
	admin, nobody := r.admin(t), r.client("")
	t.Cleanup(nobody.CloseIdleConnections)
	refused := map[string]int{}
	check := func(c *http.Client, why, method, path, body string, must bool) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, r.url()+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode < 300 {
			if must {
				t.Errorf("%s: %s %s is answered with %d", why, method, path, res.StatusCode)
			}
			return
		}
		var said map[string]json.RawMessage
		var code, message, again string
		if err := json.Unmarshal(b, &said); err != nil {
			t.Errorf("%s: %s %s: %d %s", why, method, path, res.StatusCode, b)
			return
		}
		_, _, _ = json.Unmarshal(said["code"], &code), json.Unmarshal(said["message"], &message), json.Unmarshal(said["error"], &again)
		keys := slices.Sorted(maps.Keys(said))
		if keys = slices.DeleteFunc(keys, func(k string) bool { return k == "details" }); !slices.Equal(keys, []string{"code", "error", "message"}) ||
			!known[code] || message == "" || message != again || res.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %s %s: %d %s %s", why, method, path, res.StatusCode, res.Header.Get("Content-Type"), b)
		}
		refused[why+" "+code]++
	}
	paths := append(restPaths(t), [2]string{"GET", "/v1/nothing"}, [2]string{"PUT", "/v1/jobs"})
	for _, p := range paths {
		check(nobody, "no token", p[0], p[1], "", true)
		check(admin, "unknown parameter", p[0], p[1]+"?nothing=1", "{}", true)
		if p[0] != http.MethodGet {
			check(admin, "unknown key", p[0], p[1], `{"nothing": 1}`, true)
			check(admin, "not valid JSON", p[0], p[1], "{", true)
		}
		check(admin, "not found", p[0], p[1], "", strings.Contains(p[1], "nothing"))
		check(admin, "body", "GET", p[1], "{}", true)
	}
	for why, least := range map[string]int{
		"no token unauthenticated": len(paths), "unknown parameter invalid_argument": len(paths) - 2, "unknown key invalid_argument": 15, "not valid JSON invalid_argument": 15, "not found not_found": 15,
	} {
		if refused[why] < least {
			t.Errorf("%s: %d times, at least %d are expected of %v", why, refused[why], least, refused)
		}
	}
}

package rest

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// ProcedurePrefix begins the path of every procedure.
var ProcedurePrefix = "/" + string(tandemv1.File_tandem_v1_job_proto.Package()) + "."

// Router tells which procedure a path means, before anything of the request is read.
type Router struct {
	rest    *http.ServeMux                           // from REST's method and path; a handler is a procedure's name
	methods map[string]protoreflect.MethodDescriptor // by the name of the procedure
}

// procedure is what stands at a path of REST. It serves nothing.
type procedure string

func (procedure) ServeHTTP(http.ResponseWriter, *http.Request) {}

// NewRouter reads the procedures and their REST paths from the schema.
func NewRouter() (*Router, error) {
	t := &Router{rest: http.NewServeMux(), methods: map[string]protoreflect.MethodDescriptor{}}
	var failed error
	protoregistry.GlobalFiles.RangeFilesByPackage(tandemv1.File_tandem_v1_job_proto.Package(), func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			methods := f.Services().Get(i).Methods()
			for j := range methods.Len() {
				if failed = t.add(methods.Get(j)); failed != nil {
					return false
				}
			}
		}
		return true
	})
	return t, failed
}

func (t *Router) add(m protoreflect.MethodDescriptor) error {
	name := fmt.Sprintf("/%s/%s", m.Parent().FullName(), m.Name())
	t.methods[name] = m
	rule, _ := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule)
	if rule == nil {
		return nil
	}
	for _, r := range append([]*annotations.HttpRule{rule}, rule.GetAdditionalBindings()...) {
		pattern := ""
		switch p := r.GetPattern().(type) {
		case *annotations.HttpRule_Get:
			pattern = http.MethodGet + " " + p.Get
		case *annotations.HttpRule_Put:
			pattern = http.MethodPut + " " + p.Put
		case *annotations.HttpRule_Post:
			pattern = http.MethodPost + " " + p.Post
		case *annotations.HttpRule_Delete:
			pattern = http.MethodDelete + " " + p.Delete
		case *annotations.HttpRule_Patch:
			pattern = http.MethodPatch + " " + p.Patch
		default:
			return fmt.Errorf("serve the API: %s has a REST path of no kind that is served", name)
		}
		t.rest.Handle(pattern, procedure(name))
	}
	return nil
}

// Find is the procedure that a request means; empty: none.
func (t *Router) Find(r *http.Request) string {
	if strings.HasPrefix(r.URL.Path, ProcedurePrefix) {
		if _, ok := t.methods[r.URL.Path]; ok {
			return r.URL.Path
		}
		return ""
	}
	// The transcoder splits the decoded path, so that is what is looked up here.
	h, _ := t.rest.Handler(&http.Request{Method: r.Method, Host: r.Host, URL: &url.URL{Path: r.URL.Path}})
	name, _ := h.(procedure)
	return string(name)
}

// Streams tells whether a procedure stays open.
func (t *Router) Streams(procedure string) bool {
	m, ok := t.methods[procedure]
	return ok && (m.IsStreamingClient() || m.IsStreamingServer())
}

// Uploads tells whether a procedure takes a stream of messages, whose sum has no limit.
func (t *Router) Uploads(procedure string) bool {
	m, ok := t.methods[procedure]
	return ok && m.IsStreamingClient()
}

// MethodsAt are the methods that the path of a request has in REST.
func (t *Router) MethodsAt(r *http.Request) (all []string) {
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		if t.Find(&http.Request{Method: method, Host: r.Host, URL: r.URL}) != "" {
			all = append(all, method)
		}
	}
	return all
}

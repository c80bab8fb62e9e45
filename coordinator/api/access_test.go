package api

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"tandem.dev/proto/schema"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// methods are all methods of all services.
func methods() []protoreflect.MethodDescriptor {
	var all []protoreflect.MethodDescriptor
	for _, s := range schema.Services() {
		for i := range s.Methods().Len() {
			all = append(all, s.Methods().Get(i))
		}
	}
	return all
}

func TestEveryProcedureSaysWhoMayCallIt(t *testing.T) {
	for _, m := range methods() {
		access, service, name := schema.Access(schema.Procedure(m)), m.Parent().Name(), string(m.Name())
		if access == tandemv1.Access_ACCESS_UNSPECIFIED {
			t.Errorf("%s does not say who may call it: set the option (tandem.v1.access)", m.FullName())
		}
		var nodes tandemv1.Access
		switch service {
		case "AgentService":
			nodes = worker
		case "PeerService":
			nodes = coordinator
		case "EngineHostService":
			nodes = tandemv1.Access_ACCESS_ENGINE
		}
		if nodes != 0 {
			if access != nodes {
				t.Errorf("%s has access %v, want %v", m.FullName(), access, nodes)
			}
			continue
		}
		reads := strings.HasPrefix(name, "Get") || strings.HasPrefix(name, "List") ||
			strings.HasPrefix(name, "Watch") || strings.HasPrefix(name, "Explain")
		if reads != (access == viewer) && name != "StreamLogs" && name != "DownloadArtifact" && name != "ListTokens" && name != "ListAudit" && name != "ReplaySweep" {
			t.Errorf("%s has access %v", m.FullName(), access)
		}
		if access == worker || access == coordinator || (access == open) != (name == "JoinCluster") {
			t.Errorf("%s has access %v", m.FullName(), access)
		}
	}
	for _, procedure := range []string{"/tandem.v1.JobService/Made", "/tandem.v1.JobService", "/tandem.v1.Job", ""} {
		for _, role := range []string{"", "viewer", "user", "admin", "worker", "coordinator"} {
			if (Principal{Role: role}).allowed(procedure) == nil {
				t.Errorf("role %q may call %q, which does not exist", role, procedure)
			}
		}
	}
}

func TestRoles(t *testing.T) {
	for role, want := range map[string]string{
		"":            "open",
		"viewer":      "open viewer",
		"user":        "open viewer user",
		"admin":       "open viewer user admin operator",
		"worker":      "open worker",
		"coordinator": "open coordinator operator",
		"root":        "open",
	} {
		var got []string
		for a := range int32(len(tandemv1.Access_name)) {
			if (Principal{Role: role}).may(tandemv1.Access(a)) {
				got = append(got, strings.ToLower(strings.TrimPrefix(tandemv1.Access(a).String(), "ACCESS_")))
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("role %q may %v, want %s", role, got, want)
		}
	}
}

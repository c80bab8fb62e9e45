package api

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

// procedures are all procedures of all services but that of the agent's own socket.
func procedures() []string {
	var all []string
	for _, file := range []protoreflect.FileDescriptor{
		tandemv1.File_tandem_v1_job_proto, tandemv1.File_tandem_v1_dataset_proto, tandemv1.File_tandem_v1_artifact_proto,
		tandemv1.File_tandem_v1_checkpoint_proto, tandemv1.File_tandem_v1_model_proto, tandemv1.File_tandem_v1_deployment_proto,
		tandemv1.File_tandem_v1_node_proto, tandemv1.File_tandem_v1_event_proto, tandemv1.File_tandem_v1_token_proto,
		tandemv1.File_tandem_v1_cluster_proto, tandemv1.File_tandem_v1_agent_proto, tandemv1.File_tandem_v1_command_proto,
	} {
		for i := range file.Services().Len() {
			s := file.Services().Get(i)
			for j := range s.Methods().Len() {
				all = append(all, "/"+string(s.FullName())+"/"+string(s.Methods().Get(j).Name()))
			}
		}
	}
	return all
}

func TestEveryProcedureHasALevel(t *testing.T) {
	for _, p := range procedures() {
		l := accessTo(p)
		if l == closed {
			t.Errorf("%s is not in the access table", p)
		}
		name := p[strings.LastIndex(p, "/")+1:]
		reads := strings.HasPrefix(name, "Get") || strings.HasPrefix(name, "List") || strings.HasPrefix(name, "Watch")
		if reads != (l == viewer) && name != "StreamLogs" && name != "DownloadArtifact" && name != "ListTokens" {
			t.Errorf("%s has level %v", p, l)
		}
		if (l == worker) != strings.Contains(p, "AgentService") || (l == coordinator) != strings.Contains(p, "PeerService") {
			t.Errorf("%s has level %v", p, l)
		}
		if (l == open) != (name == "JoinCluster") {
			t.Errorf("%s has level %v", p, l)
		}
	}
	if accessTo("/tandem.v1.JobService/Made") != closed {
		t.Error("a procedure that is not there is open")
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
		for l, name := range []string{"closed", "open", "viewer", "user", "admin", "worker", "coordinator", "operator"} {
			if (Principal{Role: role}).may(level(l)) {
				got = append(got, name)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("role %q may %v, want %s", role, got, want)
		}
	}
}

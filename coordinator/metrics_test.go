package coordinator

import (
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/proto/prom/promtest"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
)

// scrape reads the metrics: sample with its labels -> value.
func scrape(t *testing.T, r *running, c *http.Client) map[string]string {
	t.Helper()
	status, body := do(t, c, "GET", r.url()+"/metrics", "")
	if status != http.StatusOK {
		t.Fatalf("metrics: %d %s", status, body)
	}
	samples := map[string]string{}
	for line := range strings.Lines(body) {
		if i := strings.LastIndexByte(line, ' '); i > 0 && line[0] != '#' {
			samples[line[:i]] = strings.TrimSpace(line[i:])
		}
	}
	return samples
}

// awaitTask reads a session until it asks for an engine that ok takes.
func (a *agent) awaitTask(s *connect.ServerStreamForClient[tandemv1.SessionResponse], ok func(*tandemv1.EngineTask) bool) *tandemv1.EngineTask {
	a.t.Helper()
	for {
		for _, e := range a.await(s, 1) {
			if ok(e) {
				return e
			}
		}
	}
}

// publish trains and publishes model "toy" on one slot.
func (a *agent) publish(r *running, s *connect.ServerStreamForClient[tandemv1.SessionResponse], jobs tandemv1connect.JobServiceClient) {
	a.t.Helper()
	spec := toySpec()
	spec.Resources.Workers, spec.Publish = 1, &tandemv1.PublishSpec{Model: "toy"}
	if _, err := jobs.SubmitJob(a.t.Context(), connect.NewRequest(&tandemv1.SubmitJobRequest{Spec: spec})); err != nil {
		a.t.Fatal(err)
	}
	finished := &tandemv1.EngineReport_Finished{Finished: &tandemv1.EngineFinished{}}
	train := a.awaitTask(s, func(e *tandemv1.EngineTask) bool { return e.GetTrain() != nil })
	a.report(&tandemv1.EngineReport{EngineId: train.GetId(), Generation: train.GetGeneration(), Report: &tandemv1.EngineReport_Ready{Ready: &tandemv1.EngineReady{}}})
	a.awaitGroup(s, train.GetGeneration())
	a.checkpoint(r, train)
	a.report(&tandemv1.EngineReport{EngineId: train.GetId(), Generation: train.GetGeneration(), Report: finished})
	task := a.awaitTask(s, func(e *tandemv1.EngineTask) bool { return e.GetPublish() != nil })
	for _, why := range a.report(
		&tandemv1.EngineReport{EngineId: task.GetId(), Generation: task.GetGeneration(), Report: &tandemv1.EngineReport_Version{
			Version: &tandemv1.VersionSaved{VersionId: task.GetPublish().GetVersionId(), ManifestSha256: sum(nil)},
		}},
		&tandemv1.EngineReport{EngineId: task.GetId(), Generation: task.GetGeneration(), Report: finished},
	) {
		if why != "" {
			a.t.Fatal(why)
		}
	}
}

// serveToy publishes model "toy" and serves it: requests for its replica come to h. The node has four slots.
func serveToy(t *testing.T, r *running, c *http.Client, h http.HandlerFunc) (*agent, *connect.ServerStreamForClient[tandemv1.SessionResponse]) {
	t.Helper()
	makeDataset(t, r, c)
	a := newAgent(t, r)
	replica := httptest.NewUnstartedServer(h)
	replica.TLS = a.creds.ServerConfig(true, "http/1.1")
	replica.StartTLS()
	t.Cleanup(replica.Close)
	node := a.node(4)
	node.Address = replica.Listener.Addr().String()
	s := a.session(t.Context(), node)
	a.publish(r, s, tandemv1connect.NewJobServiceClient(c, r.url()))
	serving := tandemv1connect.NewDeploymentServiceClient(c, r.url())
	if _, err := serving.ApplyDeployment(t.Context(), connect.NewRequest(&tandemv1.ApplyDeploymentRequest{Model: "toy", Replicas: 1})); err != nil {
		t.Fatal(err)
	}
	ready := &tandemv1.EngineReport_Ready{Ready: &tandemv1.EngineReady{}}
	serve := a.awaitTask(s, func(e *tandemv1.EngineTask) bool { return e.GetServe() != nil })
	a.report(&tandemv1.EngineReport{EngineId: serve.GetId(), Report: ready})
	return a, s
}

var update = flag.Bool("update", false, "write the table of metrics in docs/operations.md")

// TestMetrics: what is scraped while one replica serves, one job trains and one waits; all of it follows the rules for metrics and is
// in the documentation.
func TestMetrics(t *testing.T) {
	r := startOne(t)
	c := r.admin(t)
	a, s := serveToy(t, r, c, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") })
	jobs := tandemv1connect.NewJobServiceClient(c, r.url())
	if status, body := do(t, c, "POST", r.url()+"/v2/models/toy/infer", "{}"); status != http.StatusOK {
		t.Fatalf("infer: %d %s", status, body)
	}
	if _, err := jobs.SubmitJob(t.Context(), connect.NewRequest(&tandemv1.SubmitJobRequest{Spec: toySpec()})); err != nil {
		t.Fatal(err)
	}
	for _, e := range a.await(s, 3) {
		if e.GetTrain() == nil {
			continue
		}
		if _, err := a.api.ReportProgress(t.Context(), connect.NewRequest(&tandemv1.ReportProgressRequest{Progress: []*tandemv1.Progress{
			{TrialId: e.GetTrain().GetTrialId(), Generation: e.GetGeneration(), Step: 5, StepsPerSecond: 7.5, SamplesPerSecond: 60, Time: timestamppb.Now()},
		}})); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := jobs.SubmitJob(t.Context(), connect.NewRequest(&tandemv1.SubmitJobRequest{Spec: toySpec()})); err != nil {
		t.Fatal(err)
	}
	do(t, r.client("tdm_wrong"), "GET", r.url()+"/v1/jobs", "")
	do(t, c, "POST", r.url()+"/v1/jobs", "{")
	do(t, c, "GET", r.url()+"/v1/models/none", "")
	do(t, c, "GET", r.url()+"/v1/nothing/of/this", "")
	got := scrape(t, r, c)
	for sample, want := range map[string]string{
		`tandem_jobs{state="completed"}`:                                                      "1",
		`tandem_jobs{state="running"}`:                                                        "1",
		`tandem_jobs{state="pending"}`:                                                        "1",
		`tandem_queue_length{pool="default",reason="slots_busy"}`:                             "1",
		`tandem_queue_length{pool="default",reason="behind"}`:                                 "0",
		`tandem_queue_slots{pool="default"}`:                                                  "2",
		`tandem_queue_oldest_age_seconds{pool="unknown"}`:                                     "0",
		`tandem_nodes_closed{reason="cordoned"}`:                                              "0",
		`tandem_store_serves`:                                                                 "1",
		`tandem_raft_snapshot_index`:                                                          "0",
		`tandem_raft_leader_silence_seconds`:                                                  "0",
		`tandem_api_requests_total{code="ok",procedure="JobService/SubmitJob"}`:               "3",
		`tandem_api_requests_total{code="invalid_argument",procedure="JobService/SubmitJob"}`: "1",
		`tandem_api_requests_total{code="unauthenticated",procedure="JobService/ListJobs"}`:   "1",
		`tandem_api_requests_total{code="not_found",procedure="ModelService/GetModel"}`:       "1",
		`tandem_api_requests_total{code="not_found",procedure="unknown path"}`:                "1",
		`tandem_api_requests_total{code="ok",procedure="/v2"}`:                                "1",
		`tandem_api_request_duration_seconds_count{procedure="JobService/SubmitJob"}`:         "4",
		`tandem_api_request_duration_seconds_count{procedure="AgentService/Session"}`:         "",
		`tandem_api_streams{procedure="AgentService/Session"}`:                                "1",
		`tandem_nodes{state="alive"}`:                                                         "1",
		`tandem_slots{pool="default"}`:                                                        "4",
		`tandem_slots_used{pool="default"}`:                                                   "3",
		`tandem_replicas{model="toy",state="ready"}`:                                          "1",
		`tandem_raft_is_leader`:                                                               "1",
		`tandem_steps_per_second`:                                                             "7.5",
		`tandem_samples_per_second`:                                                           "60",
		`tandem_inference_requests_total{model="toy",outcome="ok",status="200"}`:              "1",
		`tandem_inference_duration_seconds_count{model="toy",outcome="ok"}`:                   "1",
		`tandem_inference_duration_seconds_bucket{model="toy",outcome="ok",le="+Inf"}`:        "1",
	} {
		if got[sample] != want {
			t.Errorf("%s is %q, want %q", sample, got[sample], want)
		}
	}
	if got[`tandem_inference_duration_seconds_sum{model="toy",outcome="ok"}`] == "0" {
		t.Error("inference took no time")
	}
	if n := got[`tandem_raft_commit_duration_seconds_count`]; n == "" || n == "0" {
		t.Errorf("%q commits", n)
	}
	if got["tandem_raft_commit_index"] != got["tandem_raft_last_index"] || got["tandem_raft_commit_index"] == "0" {
		t.Errorf("commit index %s of %s", got["tandem_raft_commit_index"], got["tandem_raft_last_index"])
	}
	promtest.Check(t, r.registry, "../docs/operations.md", "coordinators", *update)
}

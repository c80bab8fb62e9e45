package coordinator

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"tandem.dev/proto/identity"
	"tandem.dev/proto/schema"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
)

// inProject says with each request which project it is in.
type inProject struct {
	base    http.RoundTripper
	project string
}

func (p inProject) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set(identity.ProjectHeader, p.project)
	return p.base.RoundTrip(r)
}

// in is a client whose calls are in a project.
func in(c *http.Client, project string) *http.Client {
	return &http.Client{Transport: inProject{c.Transport, project}}
}

// awaitLevel waits until the cluster has a feature level.
func (r *running) awaitLevel(t *testing.T, level int) {
	t.Helper()
	for v := r.state.View(); v.Level() < level; v = r.state.View() {
		if err := r.state.Wait(t.Context(), v.Index()); err != nil {
			t.Fatal(err)
		}
	}
}

// tenant makes a token of a project, which is made when there is none, and returns a client with it.
func (r *running) tenant(t *testing.T, name, role, project string) *http.Client {
	t.Helper()
	r.awaitLevel(t, 2)
	admin := r.admin(t)
	_, err := tandemv1connect.NewProjectServiceClient(admin, r.url()).CreateProject(t.Context(), connect.NewRequest(&tandemv1.CreateProjectRequest{Name: project}))
	if err != nil && connect.CodeOf(err) != connect.CodeAlreadyExists && project != "*" {
		t.Fatal(err)
	}
	res, err := tandemv1connect.NewTokenServiceClient(admin, r.url()).CreateToken(t.Context(), connect.NewRequest(&tandemv1.CreateTokenRequest{
		Name: name, Role: role, Project: project,
	}))
	if err != nil {
		t.Fatal(err)
	}
	c := r.client(res.Msg.GetSecret())
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// ask calls a procedure with a request in JSON, a stream too, and returns the code of its error and all that it answered.
func ask(t *testing.T, c *http.Client, r *running, procedure, body string) (code, answer string) {
	t.Helper()
	m, kind := schema.Method(procedure), "application/json"
	if m.IsStreamingClient() || m.IsStreamingServer() {
		kind = "application/connect+json"
		head := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(body))) //nolint:gosec // a request of a test
		body = string(head) + body
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url()+procedure, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", kind)
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if kind == "application/json" {
		if res.StatusCode != http.StatusOK {
			return codeIn(b), string(b)
		}
		return "", string(b)
	}
	for rest := b; len(rest) >= 5; {
		n := int(binary.BigEndian.Uint32(rest[1:5]))
		if rest[0]&2 != 0 {
			var end struct{ Error json.RawMessage }
			if err := json.Unmarshal(rest[5:5+n], &end); err != nil {
				t.Fatal(err)
			}
			code = codeIn(end.Error)
		}
		rest = rest[5+n:]
	}
	return code, string(b)
}

func codeIn(b []byte) string {
	var e struct{ Code string }
	_ = json.Unmarshal(bytes.TrimSpace(b), &e) // no error is no code
	return e.Code
}

// call is how a procedure is asked in TestProjects.
type call struct {
	names []string // requests that name something of the other project: not found
	specs []string // requests with a spec that names something of the other project: the spec is refused for that
	lists []string // requests for lists: nothing of the other project is in the answer
	none  string   // why neither
}

// calls are those of all procedures that clients may call. A new one has to say here how it keeps projects apart.
func calls(j *tandemv1.Job, trial *tandemv1.Trial, d *tandemv1.Dataset, v *tandemv1.Version, sweep string) map[string]call {
	id := func(format string, all ...string) (requests []string) {
		for _, one := range all {
			requests = append(requests, fmt.Sprintf(format, one))
		}
		return requests
	}
	jobs := []string{j.GetId(), j.GetId()[:20], j.GetId()[4:], "toy"}
	sweeps := []string{sweep, "search"}
	ckpt := trial.GetLatestCheckpointId()
	const theirs, keys = "nothing of a project is in it", "keys, machines and tokens are the cluster's"
	return map[string]call{
		"JobService/SubmitJob": {specs: []string{
			`{"spec": {"name": "x", "dataset": "toy", "model": {"mlp": {"hidden": [4]}}, "training": {"batch": 8, "epochs": 1}}}`,
			fmt.Sprintf(`{"spec": {"name": "x", "kind": "publish", "publish": {"model": "x", "checkpointId": %q}}}`, ckpt),
			fmt.Sprintf(`{"spec": {"name": "x", "kind": "replay", "replay": {"checkpointId": %q, "steps": 1}}}`, ckpt),
		}},
		"JobService/GetJob":       {names: append(id(`{"id": %q}`, jobs...), id(`{"id": %q, "toChange": true}`, jobs...)...)},
		"JobService/ExplainJob":   {names: id(`{"id": %q}`, jobs...)},
		"JobService/ListJobs":     {lists: []string{`{}`, `{"name": "toy"}`, `{"limit": 1}`}},
		"JobService/SetJobIntent": {names: id(`{"id": %q, "intent": "JOB_INTENT_CANCEL"}`, jobs...)},
		"JobService/ScaleJob":     {names: id(`{"id": %q, "workers": 2}`, jobs...)},
		"JobService/UpdateJob":    {names: id(`{"id": %q, "priority": 7}`, jobs...)},
		"JobService/DeleteJob":    {names: id(`{"id": %q}`, jobs...)},
		"JobService/PruneJobs":    {lists: []string{`{"olderThan": "0s", "dryRun": true}`, `{"olderThan": "0s", "dryRun": true, "logsOnly": true}`, `{"olderThan": "0s"}`, `{"olderThan": "0s", "logsOnly": true}`}},
		"JobService/WatchJob":     {names: id(`{"id": %q}`, jobs...)},
		"JobService/StreamLogs":   {names: id(`{"id": %q}`, append(jobs, trial.GetId())...)},

		"SweepService/GetSweep":        {names: append(id(`{"id": %q}`, sweeps...), id(`{"id": %q, "toChange": true}`, sweeps...)...)},
		"SweepService/ListTrials":      {names: id(`{"id": %q}`, sweeps...)},
		"SweepService/ListSweepEvents": {names: id(`{"id": %q}`, sweeps...)},
		"SweepService/ReplaySweep":     {names: id(`{"id": %q, "methods": [{"name": "random"}]}`, sweeps...)},
		"SweepService/GetImportance":   {names: id(`{"id": %q}`, sweeps...)},
		"SweepService/GetCurves":       {names: id(`{"id": %q}`, sweeps...)},
		"SweepService/ExtendSweep":     {names: id(`{"id": %q, "maxTrials": 100}`, sweeps...)},
		"SweepService/StopSweepTrial":  {names: id(`{"id": %q, "trial": 1}`, sweeps...)},

		"MetricService/GetMetrics": {names: id(`{"id": %q}`, append(jobs, trial.GetId())...)},
		"MetricService/GetTrace":   {names: id(`{"id": %q}`, append(jobs, trial.GetId())...)},

		"CheckpointService/ListCheckpoints":  {names: id(`{"jobId": %q}`, jobs...), lists: []string{`{}`}},
		"CheckpointService/GetCheckpoint":    {names: id(`{"id": %q}`, ckpt, ckpt[:20])},
		"CheckpointService/VerifyCheckpoint": {names: id(`{"id": %q}`, ckpt)},
		"CheckpointService/DeleteCheckpoint": {names: id(`{"id": %q}`, ckpt)},
		"CheckpointService/PruneCheckpoints": {names: id(`{"jobId": %q}`, jobs...), lists: []string{`{"dryRun": true}`, `{}`}},

		"DatasetService/BeginDataset":  {none: "it gives an id, whatever there is"},
		"DatasetService/CreateDataset": {names: []string{fmt.Sprintf(`{"name": "toy", "id": %q, "manifestSha256": %q}`, d.GetId(), d.GetManifestSha256())}},
		"DatasetService/ListDatasets":  {lists: []string{`{}`}},
		"DatasetService/GetDataset":    {names: id(`{"dataset": %q}`, "toy", "toy@1", d.GetId(), d.GetId()[:20], "vision/toy")},
		"DatasetService/DeleteDataset": {names: id(`{"dataset": %q}`, "toy", "toy@1", d.GetId(), "vision/toy")},

		"ModelService/ListModels":  {lists: []string{`{}`}},
		"ModelService/GetModel":    {names: id(`{"name": %q}`, "toy", "vision/toy")},
		"ModelService/GetVersion":  {names: id(`{"version": %q}`, "toy", "toy@1", v.GetId(), "vision/toy@1")},
		"ModelService/SetAlias":    {names: id(`{"model": %q, "alias": "champion", "version": 1}`, "toy", "vision/toy")},
		"ModelService/DeleteModel": {names: id(`{"model": %q}`, "toy", "toy@1", "vision/toy")},

		"DeploymentService/ApplyDeployment":  {names: id(`{"model": %q, "replicas": 2}`, "toy", "toy@1", "vision/toy")},
		"DeploymentService/ListDeployments":  {lists: []string{`{}`}},
		"DeploymentService/GetDeployment":    {names: id(`{"name": %q}`, "toy", "vision/toy")},
		"DeploymentService/DeleteDeployment": {names: id(`{"name": %q}`, "toy", "vision/toy")},
		"DeploymentService/WatchDeployment":  {names: id(`{"name": %q}`, "toy", "vision/toy")},

		"ArtifactService/UploadArtifact": {names: []string{fmt.Sprintf(
			`{"header": {"size": 3, "sha256": %q, "datasetId": %q, "name": "manifest.json"}}`, sum([]byte("abc")), d.GetId())}},
		"ArtifactService/ListArtifacts": {names: id(`{"owner": %q}`, "checkpoint/"+ckpt, "dataset/toy", "dataset/toy@1", "dataset/"+d.GetId(), "version/toy/1", "version/vision/toy/1")},
		"ArtifactService/DownloadArtifact": {names: id(`{"owner": %q, "name": "manifest.json"}`,
			"checkpoint/"+ckpt, "dataset/toy", "dataset/toy@1", "dataset/"+d.GetId(), "version/toy/1", "version/vision/toy/1")},

		"EventService/ListEvents": {names: id(`{"jobId": %q}`, jobs...), lists: []string{`{}`, `{"routine": true}`}},

		"NodeService/ListNodes":  {lists: []string{`{}`}},
		"NodeService/GetNode":    {lists: []string{`{"id": "w"}`}},
		"NodeService/ListPools":  {lists: []string{`{}`}},
		"NodeService/CordonNode": {none: keys}, "NodeService/RemoveNode": {none: keys},
		"NodeService/LabelNode": {none: keys}, "NodeService/SetSlot": {none: keys},
		"NodeService/CreatePool": {none: keys}, "NodeService/SetPool": {none: keys},

		"ProjectService/ListProjects":  {lists: []string{`{}`}},
		"ProjectService/GetProject":    {names: []string{`{"name": "vision"}`}},
		"ProjectService/CreateProject": {none: "for admins"}, "ProjectService/SetProject": {none: "for admins"}, "ProjectService/DeleteProject": {none: "for admins"},

		"ClusterService/GetCluster": {lists: []string{`{}`}}, "ClusterService/JoinCluster": {none: theirs},
		"ClusterService/ListAudit": {none: "for admins"}, "ClusterService/SetRetention": {none: keys}, "ClusterService/SetStorage": {none: keys},
		"ClusterService/AddPeer": {none: keys}, "ClusterService/RemovePeer": {none: keys}, "ClusterService/RotateKeys": {none: keys},
		"TokenService/CreateToken": {none: keys}, "TokenService/ListTokens": {none: keys}, "TokenService/RevokeToken": {none: keys},
	}
}

// TestProjects: whoever belongs to a project does not find, see or change anything of another, by any procedure, name or id; nor may
// anybody else from there. What does not exist and what is elsewhere are the same.
func TestProjects(t *testing.T) {
	r := startOne(t)
	vision, speech := r.tenant(t, "ann", "user", "vision"), r.tenant(t, "bob", "user", "speech")
	everywhere := r.tenant(t, "pipeline", "user", "*")
	serveToy(t, r, vision, func(http.ResponseWriter, *http.Request) {})
	jobs := tandemv1connect.NewJobServiceClient(vision, r.url())
	sweep, err := jobs.SubmitJob(t.Context(), connect.NewRequest(&tandemv1.SubmitJobRequest{Spec: sweepSpec(&tandemv1.MethodSpec{Name: "random"}, 2)}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jobs.SetJobIntent(t.Context(), connect.NewRequest(&tandemv1.SetJobIntentRequest{Id: "search", Intent: tandemv1.JobIntent_JOB_INTENT_CANCEL})); err != nil {
		t.Fatal(err)
	}
	got, err := jobs.GetJob(t.Context(), connect.NewRequest(&tandemv1.GetJobRequest{Id: "toy"}))
	if err != nil {
		t.Fatal(err)
	}
	job := got.Msg.GetJob()
	if job.GetProject() != "vision" || job.GetSubmittedBy() != "ann" {
		t.Errorf("the job is %s's in project %s", job.GetSubmittedBy(), job.GetProject())
	}
	v := r.state.View().In("vision")
	versions, datasets := v.VersionsOf("toy"), v.DatasetsOf("toy")
	if len(versions) != 1 || len(datasets) != 1 {
		t.Fatalf("%v, %v", versions, datasets)
	}
	trial, ok := v.Trial(got.Msg.GetTrials()[0].GetId())
	if !ok {
		t.Fatal("no trial")
	}
	before := rows(t, r)
	all := calls(job, trial, datasets[0], versions[0], sweep.Msg.GetJob().GetId())
	secrets := []string{"toy", "search", "vision", "ann", job.GetId(), trial.GetId(), trial.GetLatestCheckpointId(), datasets[0].GetId(), versions[0].GetId(), "replica-", "alloc-"}
	outsiders := map[string]*http.Client{"bob": speech, "pipeline in speech": in(everywhere, "speech"), "admin": r.admin(t), "admin in speech": in(r.admin(t), "speech")}
	for _, service := range schema.Services() {
		for i := range service.Methods().Len() {
			m := service.Methods().Get(i)
			switch schema.Access(schema.Procedure(m)) {
			case tandemv1.Access_ACCESS_WORKER, tandemv1.Access_ACCESS_COORDINATOR, tandemv1.Access_ACCESS_ENGINE:
				continue
			}
			name := string(service.Name()) + "/" + string(m.Name())
			c, ok := all[name]
			if !ok || len(c.names)+len(c.lists)+len(c.specs) == 0 && c.none == "" {
				t.Errorf("%s does not say how it keeps projects apart", name)
			}
			delete(all, name)
			for _, body := range c.names {
				for who, client := range outsiders {
					if name == "ProjectService/GetProject" && who != "bob" {
						continue // they have that project too
					}
					if code, answer := ask(t, client, r, schema.Procedure(m), body); code != "not_found" {
						t.Errorf("%s %s by %s: %s %s", name, body, who, code, answer)
					}
				}
			}
			for _, body := range c.specs {
				for who, client := range outsiders {
					code, answer := ask(t, client, r, schema.Procedure(m), strings.Replace(body, `"name"`, `"project": "speech", "name"`, 1))
					if code != "invalid_argument" || !strings.Contains(answer, "was not found") {
						t.Errorf("%s %s by %s: %s %s", name, body, who, code, answer)
					}
				}
				if code, answer := ask(t, speech, r, schema.Procedure(m), strings.Replace(body, `"name"`, `"project": "vision", "name"`, 1)); code != "not_found" {
					t.Errorf("a job for another project: %s %s", code, answer)
				}
			}
			for _, body := range c.lists {
				code, answer := ask(t, speech, r, schema.Procedure(m), body)
				if code != "" {
					t.Errorf("%s %s: %s", name, body, answer)
				}
				for _, secret := range secrets {
					if strings.Contains(answer, secret) {
						t.Errorf("%s %s says %q to another project: %s", name, body, secret, answer)
					}
				}
			}
		}
	}
	for name := range all {
		t.Errorf("%s is no procedure", name)
	}
	if after := rows(t, r); !slices.Equal(before, after) {
		t.Errorf("somebody of another project changed something:\n%s\n%s", before, after)
	}
	// They are found by those who have the project, so that all this says something.
	for who, client := range map[string]*http.Client{"ann": vision, "pipeline": in(everywhere, "vision"), "admin": in(r.admin(t), "vision")} {
		for procedure, body := range map[string]string{
			"JobService/GetJob": `{"id": "toy"}`, "DatasetService/GetDataset": `{"dataset": "toy@1"}`, "ModelService/GetModel": `{"name": "toy"}`,
			"DeploymentService/GetDeployment": `{"name": "toy"}`, "SweepService/GetSweep": `{"id": "search"}`, "ProjectService/GetProject": `{"name": "vision"}`,
		} {
			if code, answer := ask(t, client, r, "/tandem.v1."+procedure, body); code != "" || !strings.Contains(answer, `"toy"`) && !strings.Contains(answer, `"vision"`) {
				t.Errorf("%s of %s: %s %s", procedure, who, code, answer)
			}
		}
	}
	// All projects at once: what there is, and whose.
	code, answer := ask(t, in(r.admin(t), "*"), r, "/tandem.v1.JobService/ListJobs", "{}")
	if code != "" || !strings.Contains(answer, `"project":"vision"`) {
		t.Errorf("all projects: %s %s", code, answer)
	}
	if code, answer = ask(t, in(r.admin(t), "*"), r, "/tandem.v1.ModelService/GetVersion", `{"version": "vision/toy@1"}`); code != "not_found" && code != "" {
		t.Errorf("all projects: %s %s", code, answer)
	}
	code, _ = ask(t, in(r.admin(t), "*"), r, "/tandem.v1.DatasetService/BeginDataset", `{"name": "x"}`)
	if code != "invalid_argument" {
		t.Errorf("something is made in all projects: %s", code)
	}
	// REST and inference look in the same place.
	for path, want := range map[string]int{"/v1/jobs/" + job.GetId(): 404, "/v1/models/toy": 404, "/v2/models/toy/ready": 404, "/v2/models/toy": 404} {
		if status, body := do(t, speech, "GET", r.url()+path, ""); status != want {
			t.Errorf("%s by another project: %d %s", path, status, body)
		}
	}
	if status, body := do(t, vision, "GET", r.url()+"/v2/models/toy/ready", ""); status != 200 {
		t.Errorf("the project's own model: %d %s", status, body)
	}
	// Metrics of a model are for its project.
	for who, client := range map[string]*http.Client{"ann": vision, "bob": speech, "admin": r.admin(t)} {
		_, body := do(t, client, "GET", r.url()+"/metrics", "")
		if has := strings.Contains(body, `model="vision/toy"`); has != (who != "bob") || !strings.Contains(body, "tandem_jobs{") {
			t.Errorf("metrics of %s have the model: %v", who, has)
		}
	}
}

// rows are all rows of nouns that belong to projects, and when each was changed.
func rows(t *testing.T, r *running) (all []string) {
	t.Helper()
	v := r.state.View()
	for _, kind := range schema.Rows() {
		if slices.Contains([]string{"job", "trial", "checkpoint", "dataset", "model", "version", "deployment", "replica", "sweep", "project"}, string(kind.Record.Name())) {
			for _, row := range v.Rows(kind) {
				m := row.ProtoReflect()
				all = append(all, fmt.Sprint(m.Get(kind.Key), m.Get(m.Descriptor().Fields().ByName("modified_index"))))
			}
		}
	}
	return all
}

// TestReachOfTokens: which projects a token has follows from what was said when it was made and from its role, and nothing that a call
// says gives more.
func TestReachOfTokens(t *testing.T) {
	r := startOne(t)
	ann := r.tenant(t, "ann", "user", "vision")
	r.tenant(t, "bob", "viewer", "speech")
	all := r.tenant(t, "pipeline", "user", "*")
	plain := r.client(r.mint(t, r.admin(t), "u", "user", false))
	t.Cleanup(plain.CloseIdleConnections)
	for name, tc := range map[string]struct {
		c    *http.Client
		want map[string]string // by project that the call says: that of what it makes, or the code of its refusal
	}{
		"one":     {ann, map[string]string{"": "vision", "vision": "vision", "speech": "not_found", "default": "not_found", "*": "not_found", "made-up": "not_found"}},
		"default": {plain, map[string]string{"": "default", "default": "default", "vision": "not_found", "*": "not_found"}},
		"all":     {all, map[string]string{"": "default", "vision": "vision", "speech": "speech", "made-up": "not_found", "*": "invalid_argument"}},
		"admin":   {r.admin(t), map[string]string{"": "default", "vision": "vision", "made-up": "not_found", "*": "invalid_argument"}},
	} {
		for said, want := range tc.want {
			c := tc.c
			if said != "" {
				c = in(c, said)
			}
			got, answer := ask(t, c, r, "/tandem.v1.DatasetService/BeginDataset", `{"name": "x"}`)
			if got == "" {
				files, manifest := toyFiles(t)
				id := uploadDataset(t, r, c, files)
				_, answer = ask(t, c, r, "/tandem.v1.DatasetService/CreateDataset", fmt.Sprintf(`{"name": "toy", "id": %q, "manifestSha256": %q}`, id, manifest))
				d, _ := r.state.View().Dataset(id)
				got = d.GetProject()
			}
			if got != want {
				t.Errorf("%s in %q: %s, want %s (%s)", name, said, got, want, answer)
			}
		}
	}
	admin := r.admin(t)
	for body, want := range map[string]string{
		`{"name": "a", "role": "admin", "project": "vision"}`:                "invalid_argument",
		`{"name": "b", "role": "user", "project": "made-up"}`:                "not_found",
		`{"name": "c", "role": "worker", "join": true, "project": "vision"}`: "invalid_argument",
		`{"name": "ann", "role": "user", "project": "speech"}`:               "already_exists",
		`{"name": "d", "role": "admin"}`:                                     `"project":"*"`,
		`{"name": "e", "role": "viewer", "project": "vision"}`:               `"project":"vision"`,
	} {
		if code, answer := ask(t, admin, r, "/tandem.v1.TokenService/CreateToken", body); code != want && !strings.Contains(answer, want) {
			t.Errorf("%s: %s %s", body, code, answer)
		}
	}
	// A project goes when nothing is in it; the default one stays.
	for name, want := range map[string]string{"vision": "failed_precondition", "default": "failed_precondition", "made-up": "not_found"} {
		if code, answer := ask(t, admin, r, "/tandem.v1.ProjectService/DeleteProject", fmt.Sprintf(`{"name": %q}`, name)); code != want {
			t.Errorf("delete %s: %s %s", name, code, answer)
		}
	}
	if code, answer := ask(t, admin, r, "/tandem.v1.ProjectService/CreateProject", `{"name": "Vision"}`); code != "invalid_argument" {
		t.Errorf("a name that is none: %s %s", code, answer)
	}
	if _, answer := ask(t, ann, r, "/tandem.v1.ProjectService/ListProjects", `{}`); strings.Contains(answer, "speech") || !strings.Contains(answer, "vision") {
		t.Errorf("projects of one who has one: %s", answer)
	}
}

// TestNamesInTwoProjects: a dataset, a job and a request of the same name or id in two projects are two.
func TestNamesInTwoProjects(t *testing.T) {
	r := startOne(t)
	all := r.tenant(t, "pipeline", "user", "*")
	r.tenant(t, "ann", "user", "vision")
	seen := map[string]bool{}
	for _, project := range []string{"default", "vision"} {
		c := in(all, project)
		d := makeDataset(t, r, c)
		res, err := tandemv1connect.NewJobServiceClient(c, r.url()).SubmitJob(t.Context(), connect.NewRequest(&tandemv1.SubmitJobRequest{Spec: toySpec(), RequestId: "one"}))
		if err != nil {
			t.Fatal(err)
		}
		j := res.Msg.GetJob()
		if j.GetProject() != project || j.GetSpec().GetDatasetId() != d.GetId() || d.GetVersion() != 1 || seen[j.GetId()] || j.GetSpec().GetProject() != "" {
			t.Errorf("in %s: job %v of dataset %v", project, j, d)
		}
		seen[j.GetId()] = true
	}
	// The project of a spec is where the job is, and no part of what is trained.
	spec := toySpec()
	spec.Project = "vision"
	res, err := tandemv1connect.NewJobServiceClient(all, r.url()).SubmitJob(t.Context(), connect.NewRequest(&tandemv1.SubmitJobRequest{Spec: spec}))
	if err != nil || res.Msg.GetJob().GetProject() != "vision" || res.Msg.GetJob().GetSpec().GetProject() != "" {
		t.Errorf("%v, %v", res, err)
	}
}

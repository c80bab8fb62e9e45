package coordinator

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/oklog/ulid/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/coordinator/id"
	"tandem.dev/proto/identity"
	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/proto/tandem/v1/tandemv1connect"
	"tandem.dev/storage/ckpt"
	"tandem.dev/storage/safetensors"
)

// agent is the coordinator's side of a worker agent, played by a test.
type agent struct {
	t     *testing.T
	id    string
	creds *identity.Credentials
	http  *http.Client
	api   tandemv1connect.AgentServiceClient
}

func newAgent(t *testing.T, r *running) *agent {
	t.Helper()
	token := r.mint(t, r.admin(t), strings.ToLower(rand.Text()), "worker", true)
	joined, err := identity.Join(t.Context(), identity.JoinConfig{Coordinators: []string{r.Address()}, Token: token, Role: identity.RoleWorker, Hosts: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	a := &agent{t: t, id: joined.Credentials.Identity.Node, creds: joined.Credentials}
	a.http = a.creds.HTTPClient(identity.RoleName(identity.RoleCoordinator))
	t.Cleanup(a.http.CloseIdleConnections)
	a.api = tandemv1connect.NewAgentServiceClient(a.http, r.url())
	return a
}

func (a *agent) node(slots int) *tandemv1.Node {
	n := &tandemv1.Node{Id: a.id, Name: "w", Pool: "default", Address: "127.0.0.1:9", Incarnation: 1}
	for i := range slots {
		n.Slots = append(n.Slots, &tandemv1.Slot{Id: fmt.Sprintf("cpu%d", i), Device: "cpu"})
	}
	return n
}

// session opens a session and returns what the agent is told.
func (a *agent) session(ctx context.Context, n *tandemv1.Node) *connect.ServerStreamForClient[tandemv1.SessionResponse] {
	a.t.Helper()
	s, err := a.api.Session(ctx, connect.NewRequest(&tandemv1.SessionRequest{Node: n}))
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { _ = s.Close() })
	return s
}

// await reads a session until it asks for n engines.
func (a *agent) await(s *connect.ServerStreamForClient[tandemv1.SessionResponse], n int) []*tandemv1.EngineTask {
	a.t.Helper()
	defer time.AfterFunc(20*time.Second, func() { _ = s.Close() }).Stop()
	for s.Receive() {
		if e := s.Msg().GetEngines(); len(e) == n {
			return e
		}
	}
	a.t.Fatalf("session ended: %v", s.Err())
	return nil
}

// awaitGroup reads a session until all its engines are in the process group of a generation.
func (a *agent) awaitGroup(s *connect.ServerStreamForClient[tandemv1.SessionResponse], generation int64) []*tandemv1.EngineTask {
	a.t.Helper()
	defer time.AfterFunc(20*time.Second, func() { _ = s.Close() }).Stop()
	for s.Receive() {
		engines, in := s.Msg().GetEngines(), 0
		for _, e := range engines {
			if g := e.GetTrain().GetGroup(); g.GetGeneration() == generation && int(g.GetWorldSize()) == len(engines) && !e.GetTrain().GetBroken() {
				in++
			}
		}
		if in == len(engines) && in > 0 {
			return engines
		}
	}
	a.t.Fatalf("session ended: %v", s.Err())
	return nil
}

func (a *agent) report(reports ...*tandemv1.EngineReport) []string {
	a.t.Helper()
	res, err := a.api.Report(a.t.Context(), connect.NewRequest(&tandemv1.ReportRequest{NodeId: a.id, Incarnation: 1, Reports: reports}))
	if err != nil {
		a.t.Fatal(err)
	}
	return res.Msg.GetRefusals()
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

func upload(t *testing.T, c tandemv1connect.ArtifactServiceClient, h *tandemv1.UploadArtifactHeader, body []byte) (string, error) {
	t.Helper()
	s := c.UploadArtifact(t.Context())
	// A server that refuses ends the stream early: what it says comes from CloseAndReceive.
	_ = s.Send(&tandemv1.UploadArtifactRequest{Part: &tandemv1.UploadArtifactRequest_Header{Header: h}})
	for len(body) > 0 {
		n := min(len(body), 1000)
		_ = s.Send(&tandemv1.UploadArtifactRequest{Part: &tandemv1.UploadArtifactRequest_Chunk{Chunk: body[:n]}})
		body = body[n:]
	}
	res, err := s.CloseAndReceive()
	if err != nil {
		return "", err
	}
	return res.Msg.GetArtifact(), nil
}

func toySpec() *tandemv1.JobSpec {
	return &tandemv1.JobSpec{
		Name: "toy", Dataset: "toy", Model: &tandemv1.ModelSpec{Architecture: &tandemv1.ModelSpec_Mlp{Mlp: &tandemv1.MlpSpec{Hidden: []int32{4}}}},
		Training: &tandemv1.TrainingSpec{Batch: 8, Epochs: 1}, Resources: &tandemv1.ResourceSpec{Workers: 2},
	}
}

func wantCode(t *testing.T, err error, code connect.Code, words string) {
	t.Helper()
	if connect.CodeOf(err) != code || !strings.Contains(fmt.Sprint(err), words) {
		t.Errorf("got %v (%v), want %v with %q", err, connect.CodeOf(err), code, words)
	}
}

func TestJobFromSubmitToEnd(t *testing.T) {
	r := startOne(t)
	c := r.admin(t)
	if d := makeDataset(t, r, c); d.GetVersion() != 1 || d.GetRows()["train"] != 80 || d.GetClasses() != 2 || d.GetCreatedBy() != "admin" {
		t.Errorf("dataset %v", d)
	}
	jobs := tandemv1connect.NewJobServiceClient(c, r.url())
	submit := &tandemv1.SubmitJobRequest{Spec: toySpec(), RequestId: "one"}
	first, err := jobs.SubmitJob(t.Context(), connect.NewRequest(submit))
	if err != nil {
		t.Fatal(err)
	}
	again, err := jobs.SubmitJob(t.Context(), connect.NewRequest(submit))
	if err != nil || again.Msg.GetJob().GetId() != first.Msg.GetJob().GetId() {
		t.Errorf("the repeated submit gave %v, %v", again.Msg.GetJob().GetId(), err)
	}
	other := proto.CloneOf(submit)
	other.Spec.Training.Seed = 9
	if _, err := jobs.SubmitJob(t.Context(), connect.NewRequest(other)); connect.CodeOf(err) != connect.CodeInvalidArgument || !strings.Contains(err.Error(), "another create_job") {
		t.Errorf("another request under the same id: %v", err)
	}
	job := first.Msg.GetJob().GetId()
	watch, err := jobs.WatchJob(t.Context(), connect.NewRequest(&tandemv1.WatchJobRequest{Id: job}))
	if err != nil {
		t.Fatal(err)
	}
	// Nobody has slots: the job waits and says why.
	awaitJob(t, watch, func(w *tandemv1.WatchJobResponse) bool {
		return w.GetJob().GetState() == tandemv1.JobState_JOB_STATE_PENDING && w.GetJob().GetWhy().GetCode() == tandemv1.Reason_CODE_POOL_WITHOUT_NODES && strings.Contains(w.GetJob().GetReason(), "has no nodes")
	})
	a := newAgent(t, r)
	s := a.session(t.Context(), a.node(2))
	tasks := a.await(s, 2)
	train := tasks[0].GetTrain()
	if train.GetGroup() != nil || tasks[0].GetStorage().GetEndpoint() != "store.test:1" || train.GetDatasetPrefix() == "" {
		t.Errorf("task %v", tasks[0])
	}
	gen := tasks[0].GetGeneration()
	for _, task := range tasks {
		a.report(&tandemv1.EngineReport{EngineId: task.GetId(), Generation: gen, Report: &tandemv1.EngineReport_Ready{Ready: &tandemv1.EngineReady{TotalSteps: 10}}})
	}
	a.awaitGroup(s, gen)
	a.rendezvous(train, gen)
	if _, err := a.api.ReportProgress(t.Context(), connect.NewRequest(&tandemv1.ReportProgressRequest{Progress: []*tandemv1.Progress{
		{TrialId: train.GetTrialId(), Generation: gen, Step: 5, TotalSteps: 10, Loss: 0.5, Time: timestamppb.Now()},
	}})); err != nil {
		t.Fatal(err)
	}
	awaitJob(t, watch, func(w *tandemv1.WatchJobResponse) bool {
		return len(w.GetProgress()) == 1 && w.GetProgress()[0].GetStep() == 5 && w.GetJob().GetState() == tandemv1.JobState_JOB_STATE_RUNNING
	})
	a.checkpoint(r, tasks[0])
	writeLog(t, r, train.GetTrialId(), a.id)
	old := &tandemv1.EngineReport{EngineId: train.GetAllocationId() + "/7", Generation: gen, Report: &tandemv1.EngineReport_Finished{Finished: &tandemv1.EngineFinished{}}}
	late, err := a.api.Report(t.Context(), connect.NewRequest(&tandemv1.ReportRequest{NodeId: a.id, Incarnation: 1, Reports: []*tandemv1.EngineReport{
		old, {EngineId: tasks[0].GetId(), Generation: gen}, // which says nothing
	}}))
	if err != nil || late.Msg.GetRefusals()[0] == "" || !late.Msg.GetOver()[0] || late.Msg.GetRefusals()[1] == "" || late.Msg.GetOver()[1] {
		t.Errorf("answers to a report of a member that does not exist and an empty one: %v, %v", late, err)
	}
	for _, task := range tasks {
		a.report(&tandemv1.EngineReport{EngineId: task.GetId(), Generation: gen, Report: &tandemv1.EngineReport_Finished{Finished: &tandemv1.EngineFinished{}}})
	}
	awaitJob(t, watch, func(w *tandemv1.WatchJobResponse) bool {
		return w.GetJob().GetState() == tandemv1.JobState_JOB_STATE_COMPLETED
	})
	if watch.Receive() {
		t.Error("the watch goes on after the job has ended")
	}
	checkLog(t, jobs, job)
	checkCheckpoint(t, r, c, job)
	checkDelete(t, r, c, job, train.GetTrialId())
}

func awaitJob(t *testing.T, w *connect.ServerStreamForClient[tandemv1.WatchJobResponse], ok func(*tandemv1.WatchJobResponse) bool) {
	t.Helper()
	// A watch says nothing while nothing happens: a wrong expectation would wait for ever.
	defer time.AfterFunc(20*time.Second, func() { _ = w.Close() }).Stop()
	for w.Receive() {
		if ok(w.Msg()) {
			return
		}
	}
	t.Fatalf("the watch ended: %v; last %v", w.Err(), w.Msg())
}

// rendezvous: a value that is set later reaches who waits for it; a generation that is over does not wait.
func (a *agent) rendezvous(train *tandemv1.TrainTask, gen int64) {
	a.t.Helper()
	got := make(chan error, 1)
	go func() {
		res, err := a.api.RendezvousGet(a.t.Context(), connect.NewRequest(&tandemv1.RendezvousGetRequest{AllocationId: train.GetAllocationId(), Generation: gen, Key: "0"}))
		if err == nil && string(res.Msg.GetValue()) != "here" {
			err = errors.New("wrong value")
		}
		got <- err
	}()
	if _, err := a.api.RendezvousSet(a.t.Context(), connect.NewRequest(&tandemv1.RendezvousSetRequest{AllocationId: train.GetAllocationId(), Generation: gen, Key: "0", Value: []byte("here")})); err != nil {
		a.t.Error(err)
	}
	if err := <-got; err != nil {
		a.t.Error(err)
	}
	_, err := a.api.RendezvousGet(a.t.Context(), connect.NewRequest(&tandemv1.RendezvousGetRequest{AllocationId: train.GetAllocationId(), Generation: gen - 1, Key: "0"}))
	wantCode(a.t, err, connect.CodeFailedPrecondition, "is over")
	_, err = a.api.RendezvousSet(a.t.Context(), connect.NewRequest(&tandemv1.RendezvousSetRequest{AllocationId: train.GetAllocationId(), Generation: gen, Key: strings.Repeat("k", 257)}))
	wantCode(a.t, err, connect.CodeInvalidArgument, "256")
}

// checkpoint commits a checkpoint to the store and reports it.
func (a *agent) checkpoint(r *running, task *tandemv1.EngineTask) {
	a.t.Helper()
	train := task.GetTrain()
	prefix := fmt.Sprintf("%s/%012d-g%d", train.GetCheckpointPrefix(), 5, task.GetGeneration())
	m, err := ckpt.Save(a.t.Context(), r.store, prefix, ckpt.Manifest{Job: train.GetJobId(), Trial: train.GetTrialId(), Step: 5, Generation: task.GetGeneration(), WorldSize: 2},
		[][]safetensors.Tensor{{{Name: "w", DType: "F32", Shape: []int64{1}, Data: []byte{0, 0, 0, 0}}}})
	if err != nil {
		a.t.Fatal(err)
	}
	if got := a.report(&tandemv1.EngineReport{EngineId: task.GetId(), Generation: task.GetGeneration(), Report: &tandemv1.EngineReport_Checkpoint{Checkpoint: &tandemv1.CheckpointSaved{
		Checkpoint: &tandemv1.Checkpoint{TrialId: train.GetTrialId(), Step: 5, Generation: task.GetGeneration(), Prefix: prefix, ManifestSha256: sum([]byte("m")), Bytes: m.Shards[0].Bytes, Metrics: map[string]float64{"accuracy": 0.5}},
	}}}); got[0] != "" {
		a.t.Errorf("checkpoint refused: %s", got[0])
	}
}

func checkCheckpoint(t *testing.T, r *running, c *http.Client, job string) {
	t.Helper()
	cs := tandemv1connect.NewCheckpointServiceClient(c, r.url())
	list, err := cs.ListCheckpoints(t.Context(), connect.NewRequest(&tandemv1.ListCheckpointsRequest{JobId: job}))
	if err != nil || len(list.Msg.GetCheckpoints()) != 1 {
		t.Fatalf("checkpoints %v, %v", list, err)
	}
	id := list.Msg.GetCheckpoints()[0].GetId()
	if _, err := cs.VerifyCheckpoint(t.Context(), connect.NewRequest(&tandemv1.VerifyCheckpointRequest{Id: id})); err != nil {
		t.Error(err)
	}
	arts := tandemv1connect.NewArtifactServiceClient(c, r.url())
	files, err := arts.ListArtifacts(t.Context(), connect.NewRequest(&tandemv1.ListArtifactsRequest{Owner: "checkpoint/" + id}))
	if err != nil || len(files.Msg.GetArtifacts()) != 2 {
		t.Fatalf("files %v, %v", files, err)
	}
	down, err := arts.DownloadArtifact(t.Context(), connect.NewRequest(&tandemv1.DownloadArtifactRequest{Owner: "checkpoint/" + id, Name: "manifest.json"}))
	if err != nil {
		t.Fatal(err)
	}
	var got []byte
	for down.Receive() {
		got = append(got, down.Msg().GetChunk()...)
	}
	if !bytes.Contains(got, []byte(job)) || down.Err() != nil {
		t.Errorf("downloaded %q, %v", got, down.Err())
	}
	// One flipped byte is found.
	shard := list.Msg.GetCheckpoints()[0].GetPrefix() + "/" + files.Msg.GetArtifacts()[1].GetName()
	if err := r.store.Put(t.Context(), shard, strings.NewReader(strings.Repeat("x", int(files.Msg.GetArtifacts()[1].GetBytes()))), files.Msg.GetArtifacts()[1].GetBytes()); err != nil {
		t.Fatal(err)
	}
	_, err = cs.VerifyCheckpoint(t.Context(), connect.NewRequest(&tandemv1.VerifyCheckpointRequest{Id: id}))
	wantCode(t, err, connect.CodeDataLoss, "shard")
}

func writeLog(t *testing.T, r *running, trial, node string) {
	t.Helper()
	for i, line := range []string{"hello", "world"} {
		body := fmt.Sprintf(`{"t":"2026-01-02T03:04:0%dZ","node":%q,"rank":0,"gen":1,"line":%q}`+"\n", i, node, line)
		key := fmt.Sprintf("trials/%s/logs/%013d-%s-r0-g1.jsonl", trial, i, node)
		if err := r.store.Put(t.Context(), key, strings.NewReader(body), int64(len(body))); err != nil {
			t.Fatal(err)
		}
	}
}

func checkLog(t *testing.T, jobs tandemv1connect.JobServiceClient, job string) {
	t.Helper()
	logs, err := jobs.StreamLogs(t.Context(), connect.NewRequest(&tandemv1.StreamLogsRequest{Id: job, Follow: true}))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for logs.Receive() {
		got = append(got, logs.Msg().GetLine())
	}
	if strings.Join(got, " ") != "hello world" || logs.Err() != nil {
		t.Errorf("log %q, %v", got, logs.Err())
	}
}

func TestSessions(t *testing.T) {
	r := startOne(t)
	a := newAgent(t, r)
	first := a.session(t.Context(), a.node(1))
	a.await(first, 0)
	newer := a.node(1)
	newer.Incarnation = 2
	a.await(a.session(t.Context(), newer), 0)
	for first.Receive() {
	}
	wantCode(t, first.Err(), connect.CodeFailedPrecondition, "newer session")

	stolen := a.node(1)
	stolen.Id = "node-" + strings.Repeat("0", 26)
	s := a.session(t.Context(), stolen)
	for s.Receive() {
	}
	wantCode(t, s.Err(), connect.CodePermissionDenied, "certificate")
	bad := a.node(1)
	bad.Slots = append(bad.Slots, bad.GetSlots()[0])
	s = a.session(t.Context(), bad)
	for s.Receive() {
	}
	wantCode(t, s.Err(), connect.CodeInvalidArgument, "twice")
	_, err := a.api.Report(t.Context(), connect.NewRequest(&tandemv1.ReportRequest{NodeId: stolen.GetId()}))
	wantCode(t, err, connect.CodePermissionDenied, "certificate")
}

// TestLostNode: an agent that is gone is noticed, and its work waits for another one.
func TestLostNode(t *testing.T) {
	cfg := testConfig(t.TempDir() + "/c")
	cfg.NodeTimeout = time.Second
	r := start(t, cfg, newStore())
	c := r.admin(t)
	makeDataset(t, r, c)
	a := newAgent(t, r)
	ctx, gone := context.WithCancel(t.Context())
	s := a.session(ctx, a.node(2))
	jobs := tandemv1connect.NewJobServiceClient(c, r.url())
	job, err := jobs.SubmitJob(t.Context(), connect.NewRequest(&tandemv1.SubmitJobRequest{Spec: toySpec()}))
	if err != nil {
		t.Fatal(err)
	}
	a.await(s, 2)
	gone()
	watch, err := jobs.WatchJob(t.Context(), connect.NewRequest(&tandemv1.WatchJobRequest{Id: job.Msg.GetJob().GetId()}))
	if err != nil {
		t.Fatal(err)
	}
	awaitJob(t, watch, func(w *tandemv1.WatchJobResponse) bool {
		return w.GetJob().GetState() == tandemv1.JobState_JOB_STATE_PENDING
	})
	b := newAgent(t, r)
	if tasks := b.await(b.session(t.Context(), b.node(2)), 2); tasks[0].GetGeneration() != 1 {
		t.Errorf("generation %d, though no group was committed before", tasks[0].GetGeneration())
	}
}

// TestAgentWithoutItsJournal: an agent that is started again is never asked for a task of the one before, whatever it remembers: no task has
// two processes, and the work goes on as new tasks.
func TestAgentWithoutItsJournal(t *testing.T) {
	r := startOne(t)
	c := r.admin(t)
	makeDataset(t, r, c)
	a := newAgent(t, r)
	s := a.session(t.Context(), a.node(2))
	if _, err := tandemv1connect.NewJobServiceClient(c, r.url()).SubmitJob(t.Context(), connect.NewRequest(&tandemv1.SubmitJobRequest{Spec: toySpec()})); err != nil {
		t.Fatal(err)
	}
	former := map[string]bool{}
	for _, task := range a.await(s, 2) {
		former[task.GetId()] = true
	}
	again := a.node(2)
	again.Incarnation = 2
	s = a.session(t.Context(), again)
	defer time.AfterFunc(20*time.Second, func() { _ = s.Close() }).Stop()
	for s.Receive() {
		for _, task := range s.Msg().GetEngines() {
			if former[task.GetId()] {
				t.Fatalf("task %s of the agent before is wanted of the next", task.GetId())
			}
		}
		if len(s.Msg().GetEngines()) == 2 {
			return
		}
	}
	t.Fatalf("the work does not go on: %v", s.Err())
}

func TestUploadsAreChecked(t *testing.T) {
	r := startOne(t)
	arts := tandemv1connect.NewArtifactServiceClient(r.admin(t), r.url())
	body := []byte(strings.Repeat("model", 1000))
	header := func() *tandemv1.UploadArtifactHeader {
		return &tandemv1.UploadArtifactHeader{Size: int64(len(body)), Sha256: sum(body)}
	}
	if got, err := upload(t, arts, header(), body); err != nil || got != sum(body) {
		t.Errorf("upload: %s, %v", got, err)
	}
	stored, _, err := r.store.Get(t.Context(), "artifacts/"+sum(body))
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(stored); !bytes.Equal(b, body) {
		t.Error("other bytes were stored")
	}
	for name, tc := range map[string]struct {
		change func(*tandemv1.UploadArtifactHeader)
		body   []byte
		want   string
	}{
		"hash":    {func(h *tandemv1.UploadArtifactHeader) { h.Sha256 = sum(nil) }, body, "not " + sum(nil)},
		"no hash": {func(h *tandemv1.UploadArtifactHeader) { h.Sha256 = "" }, body, "sha256"},
		"short":   {func(h *tandemv1.UploadArtifactHeader) { h.Sha256 = sum([]byte("x")) }, body[:10], "ended after 10"},
		"long":    {func(h *tandemv1.UploadArtifactHeader) { h.Size = 10 }, body, "more than the 10"},
		"huge":    {func(h *tandemv1.UploadArtifactHeader) { h.Size = 1 << 50 }, nil, "allowed"},
		"dataset": {func(h *tandemv1.UploadArtifactHeader) { h.DatasetId = "data-../x" }, nil, "BeginDataset"},
		"old id": {func(h *tandemv1.UploadArtifactHeader) {
			h.DatasetId, h.Name = "data-"+strings.ToLower(ulid.MustNew(ulid.Timestamp(time.Now().Add(-25*time.Hour)), rand.Reader).String()), "train-00000.arrow"
		}, nil, "at most a day ago"},
		"name": {func(h *tandemv1.UploadArtifactHeader) {
			h.DatasetId, h.Name = id.New("data"), "../x"
		}, nil, "not a file of a dataset"},
		"shard": {func(h *tandemv1.UploadArtifactHeader) {
			h.DatasetId, h.Name, h.Size = id.New("data"), "train-00000.arrow", 1<<30
		}, nil, "smaller shards"},
	} {
		t.Run(name, func(t *testing.T) {
			h := header()
			tc.change(h)
			_, err := upload(t, arts, h, tc.body)
			wantCode(t, err, connect.CodeInvalidArgument, tc.want)
		})
	}
	if _, err := r.store.Head(t.Context(), "artifacts/"+sum(nil)); err == nil {
		t.Error("a file with a wrong hash was stored")
	}
}

// TestModelFilesAreLookedAtBeforeTheJobIsMade: one that an engine would refuse is named at submit, by its operator.
func TestModelFilesAreLookedAtBeforeTheJobIsMade(t *testing.T) {
	r := startOne(t)
	c := r.admin(t)
	makeDataset(t, r, c)
	arts, jobs := tandemv1connect.NewArtifactServiceClient(c, r.url()), tandemv1connect.NewJobServiceClient(c, r.url())
	for code, want := range map[string]string{
		"return torch.relu(x)":                                "",
		"return torch.from_file('/etc/passwd', False, 10)":    "aten::from_file",
		"ops.shell.run('reboot')\n    return x":               "shell::run",
		"return torch.neg(x) # " + strings.Repeat("1", 1<<21): "", // larger than one block of the reader
	} {
		var file bytes.Buffer
		z := zip.NewWriter(&file)
		for name, text := range map[string]string{
			"net/data.pkl": "\x80\x02c__torch__\nNet\n)\x81}(ub.", "net/constants.pkl": "\x80\x02).",
			"net/code/__torch__.py": "class Net(Module):\n  def forward(self: __torch__.Net, x: Tensor) -> Tensor:\n    " + code + "\n",
		} {
			w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
			if err == nil {
				_, err = io.WriteString(w, text)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		sha, err := upload(t, arts, &tandemv1.UploadArtifactHeader{Size: int64(file.Len()), Sha256: sum(file.Bytes())}, file.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		spec := toySpec()
		spec.Model = &tandemv1.ModelSpec{Architecture: &tandemv1.ModelSpec_Torchscript{Torchscript: &tandemv1.TorchScriptSpec{Artifact: sha}}}
		_, err = jobs.SubmitJob(t.Context(), connect.NewRequest(&tandemv1.SubmitJobRequest{Spec: spec}))
		if want == "" {
			if err != nil {
				t.Errorf("%.60s: %v", code, err)
			}
			continue
		}
		wantCode(t, err, connect.CodeInvalidArgument, want)
	}
	list, err := jobs.ListJobs(t.Context(), connect.NewRequest(&tandemv1.ListJobsRequest{}))
	if err != nil || len(list.Msg.GetJobs()) != 2 {
		t.Errorf("%v, %d jobs, want the two that are fine", err, len(list.Msg.GetJobs()))
	}
}

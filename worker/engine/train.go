package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	tandemv1 "tandem.dev/proto/tandem/v1"
	"tandem.dev/storage"
	"tandem.dev/storage/metric"
	"tandem.dev/worker/checkpoint"
	"tandem.dev/worker/data"
	"tandem.dev/worker/elastic"
	"tandem.dev/worker/fault"
	"tandem.dev/worker/line"
	"tandem.dev/worker/torch"
	"tandem.dev/worker/train"
)

const (
	// collectiveTimeout is the backstop for a hung rank; the deadlines of package train come first.
	collectiveTimeout = 2 * time.Minute
	// meetPatience with a rank that could come at once, longer than it takes to find out that a node is not reached.
	meetPatience = probePatience + 2*time.Second
	// uploadGrace is how long a failed training goes on with a checkpoint that was under way.
	uploadGrace = 3 * time.Second
)

// train does the task of one member.
func (e *engine) train(ctx context.Context, store storage.Store) (*tandemv1.EngineReport, error) {
	// libtorch keeps thread pools and modes per thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	t := e.task.GetTrain()
	m := &member{engine: e, task: t, store: store, dog: e.watch(limitOf(t.GetSpec()))}
	m.log = e.log.With().Str("job", t.GetJobId()).Str("trial", t.GetTrialId()).Int32("member", t.GetMember()).Logger()
	warnOfSlowBLAS(m.log)
	if t.GetReplay() != nil {
		m.record = train.NewRecorder(e.recorderConfig(t.GetTrialId()), time.Now()) // nothing of it is stored
		m.replay = &replay{record: m.record, task: t}
	} else {
		record, end := e.recording(store, t.GetTrialId())
		defer end()
		m.record = record
	}
	defer m.close()
	driver := elastic.NewDriver(elastic.Deps{Work: m, Reporter: e.host, Log: m.log})
	e.orders.subscribe(driver.Order)
	// A signal must not wait for a collective.
	release := context.AfterFunc(ctx, func() { m.Abort("the engine was told to end") })
	defer release()
	outcome, err := driver.Run(ctx)
	if err != nil {
		return nil, m.failed(ctx, err)
	}
	if outcome.Stopped {
		return &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Stopped{Stopped: &tandemv1.EngineStopped{
			Step: outcome.Step, Reached: outcome.Step >= m.loop.Plan.Until,
		}}}, nil
	}
	finished := &tandemv1.EngineFinished{}
	if m.replay != nil && m.rank == 0 {
		err := m.persist(ctx, func() { m.tellAway(ctx) }, func() (err error) {
			finished.Replay, err = m.replay.compare(ctx, store, m.Step())
			return err
		})
		if err != nil {
			return nil, m.failed(ctx, err)
		}
	}
	return &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Finished{Finished: finished}}, nil
}

// member is what one member of an allocation holds while it trains. It implements elastic.Work.
type member struct {
	*engine
	task  *tandemv1.TrainTask
	store storage.Store
	dog   *watchdog
	log   zerolog.Logger

	record *train.Recorder
	replay *replay      // nil: this is not a replay
	probed net.Listener // nil: it is never in a group with others
	rank   int          // in the process group
	joined bool         // it was in a group before, be it alone

	device  torch.Device
	model   watched
	trainer *torch.Trainer
	keeper  *checkpoint.Keeper
	set     *data.Set
	feed    *data.Feed
	loop    *train.Loop

	done  atomic.Int64 // optimizer steps, for those that ask beside the work
	mu    sync.Mutex   // guards group against Abort
	group *torch.Group
}

// Prepare checks all that can be wrong with the task and puts together what does not depend on the group.
func (m *member) Prepare(ctx context.Context) error {
	spec := m.task.GetSpec()
	err := m.persist(ctx, func() { m.tellAway(ctx) }, func() (err error) {
		m.set, err = data.Load(ctx, m.store, m.task.GetDatasetPrefix(), m.reading())
		return err
	})
	if err != nil {
		return err
	}
	set := m.set
	plan, err := train.NewPlan(spec, set.Manifest)
	if err != nil {
		return err
	}
	if m.replay != nil {
		plan.Total = min(plan.Total, m.task.GetResume().GetStep()+spec.GetReplay().GetSteps())
		plan.Until = plan.Total
	}
	plan.StopAt(m.task.GetUntil())
	m.host.totalSteps = plan.Total
	order, err := data.NewOrder(set.Source(data.Train).Len(), plan.Batch, plan.Seed)
	if err != nil {
		return train.Permanent(err)
	}
	m.feed = data.NewFeed(set.Source(data.Train), order)
	if m.device, err = bestDevice(); err != nil {
		return err
	}
	err = m.persist(ctx, func() { m.tellAway(ctx) }, func() (err error) {
		m.model, err = buildModel(ctx, m.store, m.dog, spec, set.Manifest.Shape, set.Manifest.Outputs())
		return err
	})
	if err != nil {
		return err
	}
	if err := checkModel(ctx, m.model, set.Source(data.Train), set.Manifest.OutputShape()); err != nil {
		return err
	}
	if m.trainer, err = torch.NewTrainer(trainerConfig(spec, plan, m.model.module, m.device)); err != nil {
		return err
	}
	trial, hash := m.task.GetTrialId(), m.task.GetSpecHash()
	if r := m.task.GetReplay(); r != nil {
		trial, hash = r.GetTrialId(), r.GetSpecHash()
	}
	m.keeper = checkpoint.New(checkpoint.Config{
		Job: m.task.GetJobId(), Trial: trial, SpecHash: hash, DatasetID: spec.GetDatasetId(),
		Prefix: m.task.GetCheckpointPrefix(), Resume: m.task.GetResume(), Spool: filepath.Join(os.TempDir(), "spool"),
		SpoolBytes: checkpoint.SpoolOf(m.hello.GetDiskBytes()),
	}, checkpoint.Deps{Store: faultyStore{m.store, m.done.Load}, Log: m.log, Report: m.reportCheckpoint, Tell: m.tell})
	deps := train.Deps{
		Trainer: trainer{m.trainer, m.dog}, Batches: faultyFeed{m.feed, m.Step}, Validation: data.NewSlices(set.Source(data.Validation)),
		Checkpoints: m.keeper, Reporter: m.host, Abort: m.Abort, Record: m.record, Now: time.Now, Log: m.log,
	}
	if m.replay != nil {
		m.replay.Keeper = m.keeper
		deps.Checkpoints, deps.Validation = m.replay, unevaluated{}
	}
	written, err := openLedger(m.task.GetTrialId(), m.engine.task.GetId())
	if err != nil {
		return err
	}
	if written != nil {
		deps.Ledger = written
	}
	// The others go on meanwhile: found out here, it costs them nothing. Some may have died since the task was made.
	m.host.unreachable = probePeers(ctx, peersOf(m.task.GetPeers()), (&net.Dialer{}).DialContext, false)
	for _, p := range m.host.unreachable {
		m.log.Warn().Str("node", p.Name).Str("address", p.Address).Bool("filtered", p.Filtered).Msg("a node of the group is not reached")
	}
	m.openDoor()
	m.loop = train.New(train.Config{Plan: plan}, deps)
	m.record.Enter(metric.Waiting, time.Now())
	return nil
}

// openDoor lets the other nodes of its groups find out whether they reach the ports of this one's engines.
func (m *member) openDoor() {
	if r := m.task.GetSpec().GetResources(); max(r.GetWorkers(), r.GetMax()) < 2 || !m.hello.GetPlainDataPlane() {
		return // it is never in a group with others, or these come through its agent
	}
	l, err := probeListener(m.task.GetBindHost())
	if err != nil { // the group, which listens there too, will say what is wrong
		m.log.Warn().Err(err).Msg("the other nodes cannot find out whether they reach this engine")
		return
	}
	m.probed, m.host.address = l, l.Addr().String()
}

// Join forms the process group of a generation; there is none for a single rank.
func (m *member) Join(ctx context.Context, g elastic.Group) (int64, error) {
	m.host.generation.Store(g.Generation)
	m.rank = g.Rank
	if m.replay != nil {
		m.loop.Forget() // who is rank 0 now may have had other rows before
	}
	fault.Point("join", m.Step())
	now := train.Generation{Number: g.Generation, Rank: g.Rank, World: g.World, Relay: g.Relay}
	patience := meetPatience
	if g.Planned && !m.joined {
		patience = 0 // the others come when they get to a step boundary
	}
	m.joined = true
	if g.World > 1 {
		formed, err := m.form(ctx, g, patience)
		if err != nil {
			return 0, fmt.Errorf("meet the other ranks: %w", broken(err))
		}
		now.Group = formed
	}
	if err := m.trainer.SetGroup(m.group); err != nil {
		return 0, fmt.Errorf("train with the other ranks: %w", broken(err))
	}
	m.keeper.Join(g.Generation, g.Rank, g.World, now.Group)
	fault.Point("sync", m.Step())
	step, err := m.loop.Join(ctx, now)
	return step, broken(err)
}

// form meets the other ranks, each of which has patience to come; 0: as long as it takes.
func (m *member) form(ctx context.Context, g elastic.Group, patience time.Duration) (*torch.Group, error) {
	if missing := probePeers(ctx, g.Peers, (&net.Dialer{}).DialContext, true); len(missing) > 0 {
		return nil, fmt.Errorf("%w: %w", elastic.ErrBroken, &elastic.UnreachableError{Peers: missing, Within: probePatience})
	}
	formed, err := torch.NewGroup(ctx, torch.GroupConfig{
		Rank: g.Rank, WorldSize: g.World, Rendezvous: meeting{m.host, g.Generation, g.Listen, patience},
		Prefix: "gen" + strconv.FormatInt(g.Generation, 10) + "/", BindAddress: cmp.Or(g.Listen, m.task.GetBindHost()),
		Timeout: collectiveTimeout, Device: m.device, Plain: m.hello.GetPlainDataPlane(), Memory: m.memory(),
	})
	if errors.Is(err, torch.ErrTimeout) {
		// No sign of who hangs: all others have to say that they do not.
		return nil, marked{fmt.Errorf("a rank did not come: %v", err), []error{elastic.ErrBroken}} //nolint:errorlint // a step that hangs is another matter
	}
	if err != nil {
		return nil, err
	}
	m.log.Info().Int("world", g.World).Str("transport", formed.Transport()).Msg("the ranks have met")
	m.mu.Lock()
	m.group = formed
	m.mu.Unlock()
	if ctx.Err() != nil { // aborted before it was there to be aborted
		return nil, context.Cause(ctx)
	}
	return formed, nil
}

// Train implements elastic.Work.
func (m *member) Train(ctx context.Context) (elastic.Outcome, error) {
	outcome, err := m.loop.Train(ctx)
	if err != nil || outcome == train.Regrouped {
		m.record.Enter(metric.Waiting, time.Now())
	}
	switch outcome {
	case train.Stopped:
		return elastic.Stopped, broken(err)
	case train.Regrouped:
		return elastic.Regrouped, broken(err)
	}
	return elastic.Finished, broken(err)
}

// Leave implements elastic.Work.
func (m *member) Leave() {
	m.mu.Lock()
	old := m.group
	m.group = nil
	m.mu.Unlock()
	if err := m.trainer.SetGroup(nil); err != nil {
		m.log.Warn().Err(err).Msg("the trainer does not leave its group")
	}
	if old != nil {
		old.Close()
	}
}

// Abort implements elastic.Work.
func (m *member) Abort(why string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.group != nil {
		m.group.Abort(why)
	}
}

// Move implements elastic.Work.
func (m *member) Move() { m.loop.Move() }

// Stop implements elastic.Work.
func (m *member) Stop() { m.loop.Stop() }

// Step implements elastic.Work.
func (m *member) Step() int64 {
	step := m.loop.Step()
	m.done.Store(step)
	return step
}

// broken marks the errors that the next generation may not meet.
func broken(err error) error {
	for _, kind := range []error{torch.ErrPeerLost, torch.ErrTimeout, torch.ErrAborted, train.ErrPeerLost, errPassed} {
		if errors.Is(err, kind) {
			if errors.Is(err, train.ErrHung) || errors.Is(err, torch.ErrTimeout) {
				return marked{err, []error{elastic.ErrBroken, elastic.ErrHung}}
			}
			return marked{err, []error{elastic.ErrBroken}}
		}
	}
	return err
}

// marked is an error that is others as well, and does not say so to people.
type marked struct {
	error
	as []error
}

func (m marked) Unwrap() []error { return append([]error{m.error}, m.as...) }

// splitMemory is how many bytes a split may take in memory; a larger one is streamed.
const splitMemory = 256 << 20

// reading says how the splits are read.
func (m *member) reading() data.Options {
	return data.Options{
		Splits: []string{data.Train, data.Validation}, Memory: splitMemory,
		Cache: m.shards(),
		Full: func(split string) {
			m.log.Warn().Str("split", split).Int64("bytes", m.hello.GetCacheBytes()).
				Msg("the dataset does not fit the node's cache, so rows are read one by one from the store, which may be slow; raise --data-cache-mib of the worker")
		},
	}
}

// shards are those of the node, from its agent; nil where it keeps none.
func (m *member) shards() data.Shards {
	if m.hello.GetCacheBytes() == 0 {
		return nil
	}
	return data.Handed{Engine: m.engine.task.GetId(), Ask: m.host.line.File}
}

// memory is how the ranks of this host share theirs: by the agent, for they may not look into each other's processes.
func (m *member) memory() torch.Memory {
	return torch.Memory{Name: line.MemoryName(m.task.GetAllocationId()), Open: func(ctx context.Context, pid, fd int) (*os.File, error) {
		return m.host.line.File(ctx, &tandemv1.FileRequest{EngineId: m.engine.task.GetId(), File: &tandemv1.FileRequest_Segment{
			Segment: &tandemv1.SegmentFile{Pid: int32(pid), Fd: int32(fd)},
		}})
	}}
}

// tellAway says that a member cannot begin, or come to its end, without the store: the first one as the progress of the trial, which the
// others have none of.
func (m *member) tellAway(ctx context.Context) {
	if m.task.GetMember() != 0 {
		m.tell(ctx, true, "a worker waits for the store")
		return
	}
	m.host.Progress(&tandemv1.Progress{Step: m.task.GetResume().GetStep(), Phase: train.PhaseStorage})
}

func (m *member) reportCheckpoint(ctx context.Context, c *tandemv1.Checkpoint) error {
	return m.host.Report(ctx, &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Checkpoint{Checkpoint: &tandemv1.CheckpointSaved{Checkpoint: c}}})
}

// tell puts a line into the job's events.
func (m *member) tell(ctx context.Context, warning bool, message string) {
	err := m.host.Report(ctx, &tandemv1.EngineReport{Report: &tandemv1.EngineReport_Note{Note: &tandemv1.EngineNote{Message: message, Warning: warning}}})
	if err != nil {
		m.log.Warn().Err(err).Str("event", message).Msg("an event was not taken")
	}
}

// failed tells a failure before the sockets close, and nothing after it.
func (m *member) failed(ctx context.Context, err error) error {
	if m.keeper != nil {
		grace, cancel := context.WithTimeout(ctx, uploadGrace)
		defer cancel()
		m.keeper.Close(grace)
	}
	return m.engine.failed(ctx, err)
}

func (m *member) close() {
	if m.probed != nil {
		_ = m.probed.Close()
	}
	if m.feed != nil {
		m.feed.Close()
	}
	if m.set != nil {
		m.set.Close()
	}
	if m.trainer != nil {
		m.Leave()
		m.trainer.Close()
	}
	if m.model.module != nil {
		m.model.Close()
	}
}

func trainerConfig(spec *tandemv1.JobSpec, plan train.Plan, m *torch.Module, on torch.Device) torch.TrainerConfig {
	o := spec.GetTraining().GetOptimizer()
	return torch.TrainerConfig{
		Module: m, Device: on, Loss: torch.LossKind(plan.Loss), ClipNorm: spec.GetTraining().GetClipNorm(),
		Optimizer: torch.OptimizerConfig{
			Kind: torch.OptimizerKind(o.GetName()), Momentum: o.GetMomentum(), Nesterov: o.GetNesterov(), WeightDecay: o.GetWeightDecay(),
			Beta1: o.GetBeta1(), Beta2: o.GetBeta2(), Epsilon: o.GetEps(),
		},
	}
}

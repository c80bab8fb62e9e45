package train

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

const (
	progressEvery = 450 * time.Millisecond // so that, at the beat of the syncs, it is about twice a second
	smoothing     = 0.6                    // share of the newest speed in the one shown
)

// meter turns the sums of the syncs into progress.
type meter struct {
	total int64

	since         time.Time // begin of what is measured
	step          int64     // then
	lossSum, rows float64   // since then
	shown         time.Time
	stepsPerS     float64 // smoothed
	samplesPerS   float64
	loss          float64
}

// add takes the sums of one sync.
func (m *meter) add(lossSum, rows float64) {
	m.lossSum += lossSum
	m.rows += rows
}

// progress returns what to show at a state, or nil if the last was shown just now. The
// beginning, the first steps and the end are always shown.
func (m *meter) progress(st State, epoch, lr float64, phase string, now time.Time) *tandemv1.Progress {
	first := m.stepsPerS == 0 && st.Step > m.step
	if now.Sub(m.shown) < progressEvery && (phase == phaseTraining || phase == phaseEvaluating) && st.Step < m.total && !first {
		return nil
	}
	m.shown = now
	elapsed := now.Sub(m.since)
	if steps := st.Step - m.step; steps > 0 && elapsed > 0 {
		m.stepsPerS = smooth(m.stepsPerS, float64(steps)/elapsed.Seconds())
		m.samplesPerS = smooth(m.samplesPerS, m.rows/elapsed.Seconds())
		if m.rows > 0 {
			m.loss = m.lossSum / m.rows
		}
		m.since, m.step, m.lossSum, m.rows = now, st.Step, 0, 0
	}
	p := &tandemv1.Progress{
		Step: st.Step, TotalSteps: m.total, Epoch: epoch, Loss: m.loss,
		SamplesPerSecond: m.samplesPerS, StepsPerSecond: m.stepsPerS,
		Lr: lr, Phase: phase, Time: timestamppb.New(now),
	}
	if m.stepsPerS > 0 {
		p.EtaSeconds = float64(m.total-st.Step) / m.stepsPerS
	}
	return p
}

func smooth(old, now float64) float64 {
	if old == 0 {
		return now
	}
	return smoothing*now + (1-smoothing)*old
}

// Phases of a training, as Progress names them.
const (
	phaseStarting   = "starting"
	phaseTraining   = "training"
	phaseEvaluating = "evaluating"
	phaseSaving     = "saving"
	PhaseStorage    = "waiting for storage" // it is unavailable, and nothing can be done without it
)

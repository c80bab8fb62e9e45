package state

import tandemv1 "tandem.dev/proto/tandem/v1"

// AnswerOf is the sequence number of the event that a report made which came again after its engine was gone; 0: none.
func AnswerOf(v *View, allocation string, r *tandemv1.EngineReport) int64 {
	end, ok := v.EndOf(allocation)
	if !ok {
		return 0
	}
	t, _ := v.TrialNumber(end.GetSweepId(), end.GetEnded().GetTrial())
	if e := r.GetEvaluation(); e != nil {
		for _, known := range t.GetEvaluations() {
			if known.GetStep() == e.GetStep() {
				return known.GetSeq()
			}
		}
		return 0
	}
	if r.GetStopped() != nil || r.GetFinished() != nil || r.GetFailed() != nil || r.GetBroken() != nil {
		return end.GetSeq()
	}
	return 0
}

// PublishesBest says whether a sweep is about to publish its best trial. (A publisher comes before all other trials by its id.)
func PublishesBest(v *View, id string) bool {
	for _, s := range []tandemv1.TrialState{tandemv1.TrialState_TRIAL_STATE_PENDING, tandemv1.TrialState_TRIAL_STATE_RUNNING, tandemv1.TrialState_TRIAL_STATE_PAUSED} {
		if t, ok := v.FirstIn(id, s); ok && !OfSweep(t) {
			return true
		}
	}
	return false
}

// WrongDecision says why decisions cannot be carried out whatever has happened since; nil when they can.
func WrongDecision(v *View, s *tandemv1.Sweep, all []*tandemv1.SweepDecision) *tandemv1.Reason {
	made, ids := s.GetMade(), map[string]bool{}
	no := func(what string, trial int32) *tandemv1.Reason {
		return NewReason(tandemv1.Reason_CODE_SWEEP_DECISION, "what", what, "trial", trial, "next", made+1, "most", s.GetMaxTrials())
	}
	for _, d := range all {
		if s.GetFinished() && (d.GetCreate() != nil || d.GetContinue() != nil) {
			return no("search-over", 0)
		}
		number := int32(0)
		switch what := d.GetDecision().(type) {
		case *tandemv1.SweepDecision_Create:
			c := what.Create
			_, taken := v.Trial(c.GetTrialId())
			switch {
			case c.GetTrial() != made+1 || c.GetTrial() > s.GetMaxTrials():
				return no("not-next", c.GetTrial())
			case c.GetTrialId() == "" || taken || ids[c.GetTrialId()] || c.GetSpec() == nil:
				return no("id-or-spec", c.GetTrial())
			case c.GetFrom() < 0 || c.GetFrom() > made:
				return no("from", c.GetTrial())
			}
			made++
			ids[c.GetTrialId()] = true
			continue
		case *tandemv1.SweepDecision_Continue:
			number = what.Continue.GetTrial()
		case *tandemv1.SweepDecision_Stop:
			number = what.Stop.GetTrial()
		case *tandemv1.SweepDecision_Finish:
			continue
		default:
			return no("empty", 0)
		}
		if number < 1 || number > made {
			return no("unknown", number)
		}
	}
	return nil
}

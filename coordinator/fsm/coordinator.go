package fsm

import (
	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// observeCoordinators notes what the leader sees, and records what has changed.
func (a *applier) observeCoordinators(c *tandemv1.ObserveCoordinators) (*tandemv1.Result, *refusal) {
	seen := map[string]bool{}
	for _, now := range c.GetCoordinators() {
		if now.GetId() == "" || seen[now.GetId()] {
			return nil, refuse(codeInvalid, tandemv1.Reason_CODE_FIELD_MISSING, "noun", "coordinator", "field", "id")
		}
		seen[now.GetId()] = true
	}
	for _, old := range a.Coordinators() {
		if !seen[old.GetId()] {
			a.Delete(old) // removePeer has said so
		}
	}
	for _, now := range c.GetCoordinators() {
		old, known := a.Coordinator(now.GetId())
		if known && state.SameCoordinator(old, now) {
			continue
		}
		row := state.Clone(now)
		row.ChangedAt = a.now
		row.KeysVersion, row.Authority, row.CertificateExpiresAt = old.GetKeysVersion(), old.GetAuthority(), old.GetCertificateExpiresAt()
		row.ClockOffset, row.ExpiryNoted = old.GetClockOffset(), old.GetExpiryNoted()
		a.Put(row)
		a.coordinatorEvents(old, now)
	}
	return done(""), nil
}

// coordinatorEvents says what became of a coordinator; old is nil for one that is new.
func (a *applier) coordinatorEvents(old, now *tandemv1.Coordinator) {
	say := func(level string, what tandemv1.Event_Type, pairs ...any) {
		a.record(level, what, aboutCoordinator(now.GetId()), nil, append(pairs, "address", now.GetAddress())...)
	}
	switch {
	case now.GetVoter() && !old.GetVoter():
		say(infoLevel, tandemv1.Event_TYPE_COORDINATOR_JOINED)
	case old == nil:
		say(infoLevel, tandemv1.Event_TYPE_COORDINATOR_JOINS)
	case old.GetAddress() != now.GetAddress():
		say(infoLevel, tandemv1.Event_TYPE_COORDINATOR_MOVED, "former", old.GetAddress())
	}
	switch {
	case old.GetAlive() && !now.GetAlive():
		say(warningLevel, tandemv1.Event_TYPE_COORDINATOR_LOST)
	case old != nil && !old.GetAlive() && now.GetAlive():
		say(infoLevel, tandemv1.Event_TYPE_COORDINATOR_BACK)
	}
	if now.GetLeader() && !old.GetLeader() {
		say(infoLevel, tandemv1.Event_TYPE_COORDINATOR_LEADS)
	}
}

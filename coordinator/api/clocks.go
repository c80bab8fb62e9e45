package api

import (
	"net/http"
	"time"

	"tandem.dev/coordinator/pki"
	"tandem.dev/proto/identity"
)

// maySign says why no certificate can be signed for who asks: it would not be valid yet for those whose clocks are behind this
// coordinator's by more than a certificate is dated back, or not be right for long.
func (a *API) maySign(h http.Header, now time.Time) error {
	if own := a.deps.Clocks.Own(now); own.Abs() > pki.Backdated {
		return a.clockRefusal(now, now.Add(-own), "the other coordinators")
	}
	if offset, ok := identity.ClockOffset(h, now); ok && offset.Abs() > pki.Backdated {
		return a.clockRefusal(now, now.Add(offset), "the node that asks for a certificate")
	}
	return nil
}

func (a *API) clockRefusal(here, there time.Time, whose string) error {
	err := &identity.ClockError{Whose: "coordinator " + a.deps.Self.Identity.Node, Peer: whose, Here: here, There: there}
	return precondition("no certificate is signed: " + err.Error())
}

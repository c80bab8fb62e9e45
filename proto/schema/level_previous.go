//go:build previous

package schema

// behind is how many levels this program leaves out: built with the tag "previous" it stands in for the release before in
// tests of upgrades. What has a higher level than Known is unknown to it.
const behind = 1

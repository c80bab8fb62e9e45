package layout

import "testing"

// TestKeys: a store outlives a release, so no key moves.
func TestKeys(t *testing.T) {
	for got, want := range map[string]string{
		Artifact("ab12"):                      "artifacts/ab12",
		Dataset("data-1", "ab12"):             "datasets/data-1/ab12",
		Upload("data-1"):                      "uploads/data-1",
		Version("ver-1"):                      "models/ver-1",
		Checkpoints("trial-1"):                "trials/trial-1/ckpt",
		Checkpoint(Checkpoints("t"), 7, 2):    "trials/t/ckpt/000000000007-g2",
		Checkpoint(Checkpoints("t"), 1e12, 2): "trials/t/ckpt/1000000000000-g2",
		Logs("trial-1"):                       "trials/trial-1/logs/",
		Metrics("trial-1", ""):                "trials/trial-1/metrics/",
		Metrics("trial-1", "steps"):           "trials/trial-1/metrics/steps/",
		Audit("coordinator-1"):                "audit/coordinator-1/",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

package fsm_test

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"tandem.dev/coordinator/fsm"
	"tandem.dev/coordinator/state"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// TestRequestIDIsOfOneRequest: a request that is repeated gets its first answer, and another one under its id is refused and changes
// nothing. What was remembered before requests had sums is repeated as it was.
func TestRequestIDIsOfOneRequest(t *testing.T) {
	put := func(sum, name string) *tandemv1.Command {
		return &tandemv1.Command{
			Time: &timestamppb.Timestamp{Seconds: 1}, RequestId: "ann/r", RequestSha256: sum,
			Command: &tandemv1.Command_CreateDataset{CreateDataset: &tandemv1.CreateDataset{Dataset: &tandemv1.Dataset{Id: "data-" + name, Name: name, Prefix: "datasets/data-" + name}}},
		}
	}
	for name, tc := range map[string]struct {
		first, second string // sums
		refused       bool
	}{
		"the same":                       {"s1", "s1", false},
		"another one":                    {"s1", "s2", true},
		"of a program without sums":      {"s1", "", false},
		"remembered by one without sums": {"", "s2", false},
	} {
		s := state.New()
		apply := func(index uint64, cmd *tandemv1.Command) *tandemv1.Result {
			tx := s.Begin()
			result, err := fsm.Apply(tx, index, cmd)
			if err != nil {
				t.Fatal(err)
			}
			if err := tx.Commit(); err != nil {
				t.Fatal(err)
			}
			return result
		}
		apply(1, &tandemv1.Command{Time: &timestamppb.Timestamp{Seconds: 1}, Command: &tandemv1.Command_CreateCluster{CreateCluster: &tandemv1.CreateCluster{
			Cluster: &tandemv1.Cluster{Id: "cluster-1"},
		}}})
		first := apply(2, put(tc.first, "one"))
		second := apply(3, put(tc.second, "two"))
		if tc.refused {
			if second.GetWhy().GetCode() != tandemv1.Reason_CODE_REQUEST_ID_REUSED {
				t.Errorf("%s: %v", name, second)
			}
		} else if !proto.Equal(first, second) {
			t.Errorf("%s: %v, then %v", name, first, second)
		}
		if n := len(s.View().Datasets()); n != 1 {
			t.Errorf("%s: %d datasets", name, n)
		}
	}
}

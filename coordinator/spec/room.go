package spec

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

const (
	// MaxBytes is how large a complete spec may be.
	MaxBytes = 128 << 10
	// largeBytes is from how many bytes on a spec is one of those that are counted together: searches over long lists.
	largeBytes = 4 << 10
	// maxLargeBytes is how many bytes those of a project may have. Every coordinator keeps them in memory, where they take some ten times
	// as much.
	maxLargeBytes = 4 << 20
)

// Large says whether a spec is one of those that are counted together, which takes a look at all jobs.
func Large(s *tandemv1.JobSpec) bool { return proto.Size(s) >= largeBytes }

// Room refuses a complete spec that is large where the jobs of its project have too many of those already.
func Room(jobs []*tandemv1.Job, full *tandemv1.JobSpec) error {
	if !Large(full) {
		return nil
	}
	total := proto.Size(full)
	for _, j := range jobs {
		if n := proto.Size(j.GetSpec()); n >= largeBytes {
			total += n
		}
	}
	if total <= maxLargeBytes {
		return nil
	}
	return fmt.Errorf("the jobs of the project have %d MiB of large specs, and there may not be more: delete some that have ended "+
		"(tandem delete, tandem prune), or search over ranges in place of long lists", maxLargeBytes>>20)
}

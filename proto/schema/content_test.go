package schema_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"tandem.dev/proto/schema"
	tandemv1 "tandem.dev/proto/tandem/v1"
)

// TestContent: what is asked for is left of a request, and the request is not changed.
func TestContent(t *testing.T) {
	request := &tandemv1.CreateDatasetRequest{Name: "digits", Id: "data-7", ManifestSha256: "s", RequestId: "r"}
	before := proto.CloneOf(request)
	want := &tandemv1.CreateDatasetRequest{Name: "digits", ManifestSha256: "s"}
	if got := schema.Content(request); !proto.Equal(got, want) || !proto.Equal(request, before) {
		t.Errorf("%v of %v", got, request)
	}
	submit := &tandemv1.SubmitJobRequest{Spec: &tandemv1.JobSpec{Name: "a"}, RequestId: "r", DryRun: true}
	if got := schema.Content(submit); !proto.Equal(got, &tandemv1.SubmitJobRequest{Spec: &tandemv1.JobSpec{Name: "a"}, DryRun: true}) {
		t.Errorf("%v", got)
	}
}

package limit

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/structpb"

	tandemv1 "tandem.dev/proto/tandem/v1"
)

func x(n int) string { return strings.Repeat("x", n) }

// nested is a value with lists in lists.
func nested(n int) *structpb.ListValue {
	l := &structpb.ListValue{}
	for range n {
		l = &structpb.ListValue{Values: []*structpb.Value{structpb.NewListValue(l)}}
	}
	return l
}

func space(n int, key string) *tandemv1.SubmitJobRequest {
	space := map[string]*tandemv1.Domain{}
	for i := range n {
		space[fmt.Sprint(key, i)] = &tandemv1.Domain{}
	}
	return &tandemv1.SubmitJobRequest{Spec: &tandemv1.JobSpec{Search: &tandemv1.SearchSpec{Space: space}}}
}

func when(l *structpb.ListValue) *tandemv1.SubmitJobRequest {
	req := space(1, "a")
	req.Spec.Search.Space["a0"].When = map[string]*structpb.ListValue{"b": l}
	return req
}

func TestCheck(t *testing.T) {
	aliases := func(n int) *tandemv1.SubmitJobRequest {
		return &tandemv1.SubmitJobRequest{Spec: &tandemv1.JobSpec{Publish: &tandemv1.PublishSpec{Aliases: slices.Repeat([]string{"a"}, n)}}}
	}
	for _, tc := range []struct {
		m    proto.Message
		want string // empty: it passes
	}{
		{&tandemv1.SubmitJobRequest{}, ""},
		{&tandemv1.SubmitJobRequest{RequestId: x(128)}, ""},
		{&tandemv1.SubmitJobRequest{RequestId: x(129)}, "request_id: has 129 bytes, at most 128 are allowed"},
		{&tandemv1.SetJobIntentRequest{RequestId: x(4000000)}, "request_id: has 4000000 bytes, at most 128 are allowed"},
		{&tandemv1.GetJobRequest{Id: x(1024)}, ""},
		{&tandemv1.GetJobRequest{Id: x(1025)}, "id: has 1025 bytes, at most 1024 are allowed"},
		{aliases(64), ""},
		{aliases(65), "spec.publish.aliases: has 65 entries, at most 64 are allowed"},
		{&tandemv1.GetMetricsRequest{Series: slices.Repeat([]string{"loss"}, 1001)}, "series: has 1001 entries, at most 1000 are allowed"},
		{&tandemv1.GetMetricsRequest{Series: []string{"loss", x(1025)}}, "series: has 1025 bytes, at most 1024 are allowed"},
		{space(1000, "a"), ""},
		{space(1001, "a"), "spec.search.space: has 1001 entries, at most 1000 are allowed"},
		{space(1, x(1024)), "spec.search.space: has 1025 bytes, at most 1024 are allowed"},
		{when(nested(20)), ""},
		{when(nested(200)), "messages lie within messages deeper than 64"},
		{&tandemv1.RendezvousSetRequest{Value: make([]byte, 65536)}, ""},
		{&tandemv1.RendezvousSetRequest{Value: make([]byte, 65537)}, "value: has 65537 bytes, at most 65536 are allowed"},
		{&tandemv1.JoinClusterRequest{Hosts: slices.Repeat([]string{"h"}, 17)}, "hosts: has 17 entries, at most 16 are allowed"},
		{&tandemv1.SessionRequest{Node: &tandemv1.Node{Slots: make([]*tandemv1.Slot, 257)}}, "node.slots: has 257 entries, at most 256 are allowed"},
		{&tandemv1.ReportRequest{Reports: []*tandemv1.EngineReport{{Report: &tandemv1.EngineReport_Failed{Failed: &tandemv1.EngineFailed{Message: x(4097)}}}}}, "reports.failed.message: has 4097 bytes, at most 4096 are allowed"},
	} {
		err := Check(tc.m)
		if tc.want == "" && err != nil || tc.want != "" && (!errors.Is(err, ErrLimit) || !strings.HasSuffix(err.Error(), tc.want)) {
			t.Errorf("%T: %v, want %q", tc.m, err, tc.want)
		}
	}
}

// TestEveryRequestIDIsShort: a request id is kept for a day in the memory of all coordinators.
func TestEveryRequestIDIsShort(t *testing.T) {
	found := 0
	protoregistry.GlobalFiles.RangeFilesByPackage("tandem.v1", func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			for j := range f.Services().Get(i).Methods().Len() {
				in := f.Services().Get(i).Methods().Get(j).Input()
				if id := in.Fields().ByName("request_id"); id != nil {
					found++
					if n := limitOf(id, tandemv1.E_MaxLen, stringLen); n != 128 {
						t.Errorf("%s may have %d bytes", id.FullName(), n)
					}
				}
			}
		}
		return true
	})
	if found < 10 {
		t.Errorf("%d requests have an id", found)
	}
}

// TestCut: what an engine says passes the check when it was cut, and short words stay as they are.
func TestCut(t *testing.T) {
	report := func(message string, unreachable ...string) *tandemv1.EngineReport {
		return &tandemv1.EngineReport{EngineId: "e", Report: &tandemv1.EngineReport_Broken{Broken: &tandemv1.GroupBroken{Message: message, Unreachable: unreachable}}}
	}
	short := report("a rank hangs", "node-1")
	was := proto.CloneOf(short)
	if Cut(short); !proto.Equal(short, was) {
		t.Errorf("cut to %v", short)
	}
	for name, r := range map[string]*tandemv1.EngineReport{
		"long":       report(x(5000)),
		"many":       report("", slices.Repeat([]string{"node"}, 5000)...),
		"long ones":  report("", "a", x(2000)),
		"characters": report(strings.Repeat("\u00e4", 4095)),
		"of three":   report("a" + strings.Repeat("\u20ac", 2000)),
		"no text":    report(strings.Repeat("\xff\xfe", 4000)),
	} {
		Cut(r)
		if err := Check(r); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if m := r.GetBroken().GetMessage(); !utf8.ValidString(m) || m != "" && (!strings.HasSuffix(m, ellipsis) || name != "no text" && len(m) < 4080) {
			t.Errorf("%s: cut to %d bytes: %q", name, len(m), m[max(0, len(m)-20):])
		}
	}
}

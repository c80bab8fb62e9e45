package state

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// get returns the row with an identity.
func get[T proto.Message](v *View, table, id string) (T, bool) {
	return firstOf[T](v, table, "id", id)
}

// list returns the rows that an index has under a key, in the order of the index, then of their identities.
// The index name may end in "_prefix".
func list[T proto.Message](v *View, table, index, key string) []T {
	return some[T](v, table, index, key, 0)
}

// some returns the first of list, at most limit; 0 means all.
func some[T proto.Message](v *View, table, index, key string, limit int) []T {
	it, err := v.txn.Get(table, index, key)
	if err != nil {
		return nil // only a wrong name of a table or index, found by any test
	}
	var rows []T
	for raw := it.Next(); raw != nil && (limit <= 0 || len(rows) < limit); raw = it.Next() {
		if row := raw.(T); v.sees(row) {
			rows = append(rows, row)
		}
	}
	return rows
}

// firstOf returns the first of list.
func firstOf[T proto.Message](v *View, table, index, key string) (T, bool) {
	var none T
	raw, err := v.txn.First(table, index, key)
	if err != nil || raw == nil {
		return none, false
	}
	if row := raw.(T); v.sees(row) {
		return row, true
	}
	if rows := some[T](v, table, index, key, 1); len(rows) > 0 {
		return rows[0], true
	}
	return none, false
}

// from returns the rows from a key of an index on, in its order, as long as they are wanted and not more than limit; 0 means all.
func from[T proto.Message](v *View, table, index, key string, limit int, wanted func(T) bool) []T {
	it, err := v.txn.LowerBound(table, index, key)
	if err != nil {
		return nil // only a wrong name of a table or index, found by any test
	}
	var rows []T
	for raw := it.Next(); raw != nil && (limit <= 0 || len(rows) < limit) && wanted(raw.(T)); raw = it.Next() {
		if row := raw.(T); v.sees(row) {
			rows = append(rows, row)
		}
	}
	return rows
}

// all returns all rows by identity.
func all[T proto.Message](v *View, table string) []T { return list[T](v, table, "id_prefix", "") }

// newestFirst reverses rows in place and returns them.
func newestFirst[T any](rows []T) []T {
	slices.Reverse(rows)
	return rows
}

// resolve finds the one row that ref stands for: its identity, else the newest row so named (byName, oldest first;
// may be nil), else a unique prefix of an identity, with or without the noun's prefix.
func resolve[T proto.Message](v *View, table, noun, idPrefix, ref string, byName func(string) []T) (T, error) {
	var none T
	if ref == "" {
		return none, fmt.Errorf("no %s was named: %w", noun, ErrNotFound)
	}
	if row, ok := get[T](v, table, ref); ok {
		return row, nil
	}
	if byName != nil {
		if rows := byName(ref); len(rows) > 0 {
			return rows[len(rows)-1], nil
		}
	}
	rows := list[T](v, table, "id_prefix", ref)
	if len(rows) == 0 {
		rows = list[T](v, table, "id_prefix", idPrefix+ref)
	}
	switch len(rows) {
	case 0:
		return none, missing(noun, ref, near(ref, all[T](v, table)))
	case 1:
		return rows[0], nil
	}
	var ids []string
	for _, r := range rows {
		ids = append(ids, RowID(r))
	}
	return none, ambiguous(noun, ref, ids)
}

// timeKey orders times after 1970 as strings.
func timeKey(t *timestamppb.Timestamp) string {
	return fmt.Sprintf("%020d.%09d", max(t.GetSeconds(), 0), t.GetNanos())
}

func protoUint64(n uint64) protoreflect.Value { return protoreflect.ValueOfUint64(n) }

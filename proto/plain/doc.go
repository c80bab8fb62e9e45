// Package plain is the JSON that Tandem speaks where nobody's protocol says another: REST (/v1), -o json and -o yaml of the command
// line, and what `tandem api` sends.
//
// Keys are those of the schema (created_at), whole numbers of 64 bits are numbers with all their digits, and the value of an enum is its
// plain word: "train" for JOB_KIND_TRAIN. All keys of a message are there, null where nothing is set, but for those of a oneof, and
// messages that the schema marks as sparse: a spec has what is set alone, as people write it, so that what comes out can go in again.
//
// Unmarshal reads the same, and whatever protojson reads: created_at or createdAt, 1 or "1", train or JOB_KIND_TRAIN.
//
// It is not the JSON of Connect (/tandem.v1.*), which is that of protobuf, for generated clients read no other.
package plain

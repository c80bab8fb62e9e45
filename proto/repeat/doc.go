// Package repeat keeps a log readable while something is wrong for long: what repeats about one thing is a line a minute, which says
// how many were left out. The first line about a thing is always written.
//
// It is here, beside the schema, because coordinator and worker log alike and import nothing of each other.
package repeat

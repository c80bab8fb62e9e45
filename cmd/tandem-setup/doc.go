// Command tandem-setup makes plain `go build` and `go test` work with gotch and whatever libtorch this machine has.
//
// It finds libtorch ($LIBTORCH, then the torch of python3, then the system's package, which it can install), and writes
// into the user's cache folder what the compiler needs on top of it:
//
//   - compat.h, included in front of every C++ file, which turns the wrappers of gotch that do not compile against
//     this libtorch into calls that fail with an error (compat.go says how);
//   - lib/, with empty linker scripts for the CUDA libraries that gotch's flags name and this machine lacks;
//   - standin/, headers that some packages of libtorch and gloo leave out;
//   - goenv, a file for the GOENV variable that carries all the flags.
//
// It prints the path of goenv. The folder's name depends on what was found and not on the clone, so that two clones share
// one set of flags and with it Go's build cache. Doing it again changes nothing and takes a moment.
//
// It is not a package manager: what it may install is Debian's g++, libtorch-dev, libopenblas0-pthread and libgloo-dev, nothing else.
package main

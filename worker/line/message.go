package line

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// What a message on the line asks for: its first byte.
const (
	askDial = 'd' // serve the socket that comes with it
	askFile = 'f' // answer the request in it on the socket that comes with it
)

// maxMessage is the largest message in bytes, of either side.
const maxMessage = 16 << 10

// errForm means that a message is not one of this protocol.
var errForm = errors.New("not a message of the line")

// pair makes two sockets that are connected with each other.
func pair(kind int) (a, b *os.File, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, kind|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a pair of sockets: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "line"), os.NewFile(uintptr(fds[1]), "line"), nil
}

// descriptor takes the one descriptor that came with a message. All others, and those of a message that is not right, are closed.
func descriptor(oob []byte) (*os.File, error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errForm, err)
	}
	var all []int
	for _, m := range messages {
		if fds, err := unix.ParseUnixRights(&m); err == nil {
			all = append(all, fds...)
		}
	}
	if len(all) != 1 {
		for _, fd := range all {
			_ = unix.Close(fd)
		}
		return nil, fmt.Errorf("%w: %d descriptors", errForm, len(all))
	}
	return os.NewFile(uintptr(all[0]), "line"), nil
}

// MemoryName is the name that the ranks of an allocation give to the memory that they share on one host, by which an agent knows it.
func MemoryName(allocation string) string { return "tandem " + allocation }

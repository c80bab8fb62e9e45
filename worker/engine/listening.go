package engine

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// listening are the sockets of this process that wait for connections on an address of IPv4, as host:port. Gloo opens them, before it
// sets a value that says where, and does not tell.
func listening(address string) ([]string, error) {
	if address == "" {
		return nil, nil
	}
	want, err := netip.ParseAddr(address)
	if err != nil {
		return nil, fmt.Errorf("find the sockets of the process group: %w", err)
	}
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil, fmt.Errorf("find the sockets of the process group: %w", err)
	}
	var all []string
	for _, f := range files {
		fd, err := strconv.Atoi(f.Name())
		if err != nil {
			return nil, fmt.Errorf("find the sockets of the process group: %w", err)
		}
		if listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || listens == 0 {
			continue // no socket, or closed meanwhile
		}
		name, err := unix.Getsockname(fd)
		if err != nil {
			continue
		}
		if at, ok := name.(*unix.SockaddrInet4); ok && netip.AddrFrom4(at.Addr) == want {
			all = append(all, netip.AddrPortFrom(want, uint16(at.Port)).String())
		}
	}
	return all, nil
}

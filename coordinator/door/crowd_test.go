package door

import (
	"errors"
	"io"
	"net"
	"testing"
)

func TestAddress(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1:5": "192.0.2.1", "[::ffff:192.0.2.1]:5": "192.0.2.1", "[2001:db8:1:2:3::4]:5": "2001:db8:1:2::/64",
		"[2001:db8:1:2:ffff::9]:5": "2001:db8:1:2::/64", "[fe80::1%eth0]:5": "fe80::/64", "pipe": "pipe",
	} {
		if got := Address(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

// TestCrowd: connections beyond the limits are closed at once, and one that ends makes room.
func TestCrowd(t *testing.T) {
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	limits := DefaultLimits()
	limits.Connections, limits.PerAddress = 3, 2
	turned := make(chan string, 10)
	c := NewCrowd(l, limits, func(from string) { turned <- from })
	defer c.Close()
	accepted := make(chan net.Conn)
	go func() {
		for {
			conn, err := c.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	dial := func(from string) net.Conn {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		conn, err := d.DialContext(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", port))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	closed := func(conn net.Conn, from string) {
		t.Helper()
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("from %s: %v", from, err)
		}
		if got := <-turned; got != from {
			t.Errorf("turned away %s, want %s", got, from)
		}
	}
	dial("127.0.0.2")
	first := <-accepted
	dial("127.0.0.2")
	<-accepted
	closed(dial("127.0.0.2"), "127.0.0.2")
	dial("127.0.0.3")
	<-accepted
	closed(dial("127.0.0.4"), "127.0.0.4")
	_ = first.Close()
	_ = first.Close() // twice is once
	dial("127.0.0.4")
	<-accepted
	if c.Open() != 3 {
		t.Errorf("%d are open", c.Open())
	}
}

func TestMemoryLimit(t *testing.T) {
	const mib = 1 << 20
	for live, want := range map[int64]int64{0: 224 * mib, 50 * mib: 224 * mib, 100 * mib: 312 * mib, 1000 * mib: 2112 * mib} {
		if got := limitFor(live); got != want {
			t.Errorf("%d MiB live: %d MiB, want %d", live/mib, got/mib, want/mib)
		}
	}
}

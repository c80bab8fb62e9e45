package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// A network is made of the kernel's namespaces. The test runs itself again in namespaces of its own, with a bridge in it; coordinators
// and store are there. Each worker is a host: a process in network and PID namespaces of its own, which a cable joins to the bridge.
// All of it goes with the processes, and the processes go with the first.

const (
	// insideVariable holds the programs under test when this process is the test that was run again.
	insideVariable = "TANDEM_E2E_INSIDE"
	// hostVariable is set when this process is to become the program of a host.
	hostVariable = "TANDEM_E2E_HOST"
	// bridgeAddress is that of coordinators and store; hosts have those that follow.
	bridgeAddress = "10.77.0.1"
	addressOfHost = "10.77.0.%d"
	cable         = "eth0"
)

// insideNetwork says whether this process is the test that was run again, and takes over what the first has built.
func insideNetwork() bool {
	found := filepath.SplitList(os.Getenv(insideVariable))
	if len(found) != 3 {
		return false
	}
	programs.tandem, programs.engine, programs.repository = found[0], found[1], found[2]
	return true
}

// runInside runs a test again in namespaces of its own, and passes on how it ends.
func runInside(t *testing.T) {
	t.Helper()
	flags := uintptr(syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWNS)
	attempts := []*syscall.SysProcAttr{{Cloneflags: flags}, {
		Cloneflags:  flags | syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
	}}
	var out bytes.Buffer
	for i, namespaces := range attempts {
		namespaces.Pdeathsig = syscall.SIGKILL
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=3m")
		cmd.Env = append(os.Environ(), insideVariable+"="+strings.Join([]string{programs.tandem, programs.engine, programs.repository}, string(filepath.ListSeparator)))
		cmd.Stdout, cmd.Stderr = &out, &out
		cmd.SysProcAttr = namespaces
		err := cmd.Start()
		if err != nil && i == 0 && errors.Is(err, syscall.EPERM) {
			continue // not root, or root of a container
		}
		if err != nil {
			t.Skipf("the kernel gives this user no namespaces (%v): run the test as root, or allow user namespaces", err)
		}
		err = cmd.Wait()
		t.Logf("inside:\n%s", &out)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out.String(), "--- SKIP: "+t.Name()) {
			t.Skip("namespaces are there, but no network can be made in them; see above")
		}
		return
	}
}

// network is a bridge in this network namespace and hosts that are joined to it. A nil one is loopback.
type network struct {
	bridge  *netlink.Bridge
	nowhere *netlink.Bridge // of cables that are cut; without one, this machine would still take what comes out of them
	hosts   []*host
}

// host is a machine of a network, while its program runs. A nil one is this machine.
type host struct {
	network *network
	number  int
	address string
	inside  *netlink.Handle // its own network namespace
	filters []*netlink.Rule
}

// newNetwork makes a bridge and plans hosts, which come into being when their programs start.
func newNetwork(t *testing.T, hosts int) *network {
	t.Helper()
	n := &network{bridge: bridge("switch"), nowhere: bridge("nowhere")}
	for i := range hosts {
		n.hosts = append(n.hosts, &host{network: n, number: i, address: fmt.Sprintf(addressOfHost, i+11)})
	}
	for what, err := range map[string]error{
		"see only the processes of this namespace": ownProcesses(),
		"make a bridge": errors.Join(netlink.LinkAdd(n.bridge), netlink.LinkAdd(n.nowhere)),
		"add a cable":   netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "probe"}, PeerName: "probed"}),
	} {
		if err != nil {
			t.Skipf("the kernel does not let this user %s: %v", what, err)
		}
	}
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = errors.Join(netlink.LinkSetUp(lo), give(&netlink.Handle{}, n.bridge, bridgeAddress))
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func bridge(name string) *netlink.Bridge {
	return &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}
}

// ownProcesses mounts /proc for the PID namespace of this process.
func ownProcesses() error {
	return errors.Join(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount("proc", "/proc", "proc", 0, ""))
}

// give gives a link an address and switches it on.
func give(h *netlink.Handle, link netlink.Link, address string) error {
	ip, err := netlink.ParseAddr(address + "/24")
	if err != nil {
		return err
	}
	return errors.Join(h.AddrAdd(link, ip), h.LinkSetUp(link))
}

// address is where coordinators listen.
func (n *network) address() string {
	if n == nil {
		return "127.0.0.1"
	}
	return bridgeAddress
}

// reach lets hosts reach a server on loopback and returns where.
func (n *network) reach(t *testing.T, server string) string {
	t.Helper()
	if n == nil {
		return server
	}
	l, err := net.Listen("tcp", net.JoinHostPort(bridgeAddress, "0"))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return // closed
			}
			wg.Go(func() { passOn(from, server) })
		}
	})
	return l.Addr().String()
}

// passOn copies both ways between a connection and a server until either ends.
func passOn(from net.Conn, server string) {
	defer from.Close()
	to, err := net.Dial("tcp", server)
	if err != nil {
		return // who is connected notices
	}
	defer to.Close()
	var wg sync.WaitGroup
	for _, pair := range [][2]net.Conn{{from, to}, {to, from}} {
		wg.Go(func() {
			_, _ = io.Copy(pair[0], pair[1]) // how it ended is the business of the two
			_ = from.Close()
			_ = to.Close()
		})
	}
	wg.Wait()
}

// start starts a program on the host: in namespaces of its own, where it waits until the cable is there.
func (h *host) start(cmd *exec.Cmd) error {
	if h == nil {
		return cmd.Start()
	}
	wait, release, err := os.Pipe()
	if err != nil {
		return err
	}
	defer release.Close()
	defer wait.Close()
	cmd.Args = append([]string{"host", cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/proc/self/exe"
	cmd.Env = append(cmd.Env, hostVariable+"="+h.address)
	cmd.ExtraFiles = []*os.File{wait}
	cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWNS
	if err := cmd.Start(); err != nil {
		return err
	}
	if err := h.plugIn(cmd.Process.Pid); err != nil {
		_ = cmd.Process.Kill()
		return fmt.Errorf("join the host to the network: %w", err)
	}
	_, err = release.Write([]byte{1})
	return err
}

// becomeHost waits for the cable, then goes on as the program that the arguments name.
func becomeHost() error {
	if _, err := os.NewFile(3, "cable").Read(make([]byte, 1)); err != nil {
		return fmt.Errorf("wait for the cable: %w", err)
	}
	if err := ownProcesses(); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := os.Unsetenv(hostVariable); err != nil {
		return err
	}
	return syscall.Exec(os.Args[1], os.Args[1:], os.Environ())
}

// plugIn joins the namespace of a process to the bridge.
func (h *host) plugIn(pid int) error {
	space, err := netns.GetFromPid(pid)
	if err != nil {
		return err
	}
	defer space.Close()
	if h.inside, err = netlink.NewHandleAt(space); err != nil {
		return err
	}
	err = netlink.LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: h.port(), MasterIndex: h.network.bridge.Attrs().Index, Flags: net.FlagUp},
		PeerName:  cable, PeerNamespace: netlink.NsPid(pid),
	})
	if err != nil {
		return err
	}
	lo, err := h.inside.LinkByName("lo")
	if err != nil {
		return err
	}
	end, err := h.inside.LinkByName(cable)
	if err != nil {
		return err
	}
	return errors.Join(h.inside.LinkSetUp(lo), give(h.inside, end, h.address))
}

// pullOut takes the cable away, of a host whose program has ended, so that it can be started again.
func (h *host) pullOut() error {
	defer h.inside.Close() // which keeps the namespace until then
	port, err := netlink.LinkByName(h.port())
	if err != nil {
		return err
	}
	return netlink.LinkDel(port)
}

// port is the end of its cable at the bridge.
func (h *host) port() string { return fmt.Sprint("port", h.number+1) }

// unplug cuts the host off: what is sent is lost, and nobody is told.
func (h *host) unplug() error { return h.join(h.network.nowhere) }

// replug undoes unplug.
func (h *host) replug() error { return h.join(h.network.bridge) }

func (h *host) join(b *netlink.Bridge) error {
	port, err := netlink.LinkByName(h.port())
	if err != nil {
		return err
	}
	return netlink.LinkSetMaster(port, b)
}

// cut loses all that the host sends to another: it goes to a machine that does not exist.
func (h *host) cut(other *host) error {
	end, err := h.inside.LinkByName(cable)
	if err != nil {
		return err
	}
	return h.inside.NeighSet(&netlink.Neigh{
		LinkIndex: end.Attrs().Index, State: netlink.NUD_PERMANENT, IP: net.ParseIP(other.address),
		HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 99},
	})
}

// The ports that the system gives to who asks for none in particular, as a rule.
const firstFreePort, lastFreePort = 32768, 60999

// filter loses what the host sends to another from such a port to such a port. Their agents have ports of their own.
func (h *host) filter(other *host) error {
	const table, nobody = 77, "10.77.0.250"
	end, err := h.inside.LinkByName(cable)
	if err != nil {
		return err
	}
	rule := netlink.NewRule()
	rule.Priority, rule.Table, rule.IPProto = table, table, unix.IPPROTO_TCP
	rule.Dst = &net.IPNet{IP: net.ParseIP(other.address), Mask: net.CIDRMask(32, 32)}
	rule.Sport, rule.Dport = netlink.NewRulePortRange(firstFreePort, lastFreePort), netlink.NewRulePortRange(firstFreePort, lastFreePort)
	h.filters = append(h.filters, rule)
	return errors.Join(
		h.inside.NeighSet(&netlink.Neigh{
			LinkIndex: end.Attrs().Index, State: netlink.NUD_PERMANENT, IP: net.ParseIP(nobody), HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 99},
		}),
		h.inside.RouteReplace(&netlink.Route{Table: table, LinkIndex: end.Attrs().Index, Gw: net.ParseIP(nobody)}),
		h.inside.RuleAdd(rule),
	)
}

// unfilter undoes filter.
func (h *host) unfilter() error {
	var errs []error
	for _, rule := range h.filters {
		errs = append(errs, h.inside.RuleDel(rule))
	}
	h.filters = nil
	return errors.Join(errs...)
}

// tap reads what passes between the host and another, from now on. The function it returns ends that and returns the packets.
func (h *host) tap(t *testing.T, other *host) func() []byte {
	t.Helper()
	port, err := netlink.LinkByName(h.port())
	if err != nil {
		t.Fatal(err)
	}
	all := int(htons(unix.ETH_P_ALL))
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all)
	if err != nil {
		t.Skipf("the kernel does not let this user read packets: %v", err)
	}
	// A wait that ends lets the reader look whether it is over.
	wait := unix.NsecToTimeval((20 * time.Millisecond).Nanoseconds())
	err = errors.Join(
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: port.Attrs().Index}),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20),
	)
	if err != nil {
		t.Fatal(err)
	}
	var seen bytes.Buffer
	ctx, end := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer unix.Close(fd)
		packet := make([]byte, 1<<17)
		for {
			n, err := unix.Read(fd, packet)
			switch {
			case err == nil && between(packet[:n], h.address, other.address):
				seen.Write(packet[:n])
			case err != nil && ctx.Err() != nil:
				return // nothing is left to read
			}
		}
	}()
	return func() []byte {
		end()
		<-done
		return seen.Bytes()
	}
}

// between says whether an Ethernet frame goes from one address of IPv4 to the other, or back.
func between(frame []byte, a, b string) bool {
	const from, to, end = 26, 30, 34
	if len(frame) < end {
		return false
	}
	src, dst := net.IP(frame[from:to]).String(), net.IP(frame[to:end]).String()
	return src == a && dst == b || src == b && dst == a
}

func htons(n uint16) uint16 { return n<<8 | n>>8 }

package tunnel

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/netip"
)

// within is the part of loopback that ranks listen in.
var within = netip.MustParsePrefix("127.64.0.0/10")

// Group is one generation of an allocation.
type Group struct {
	Allocation string
	Generation int64
}

// Address is where a rank of a group listens. The other hosts listen at the same address in its stead, so that what the ranks tell each
// other of it holds everywhere; hence it has to be another one for each rank of any group. 22 bits of a hash are enough: two ranks
// of like address meet only on a host that serves both, and collide only at the same port. Then the generation after has other addresses.
func Address(g Group, rank int32) netip.Addr {
	h := sha256.Sum256(fmt.Appendf(nil, "%s/%d/%d", g.Allocation, g.Generation, rank))
	base := within.Addr().As4()
	n := binary.BigEndian.Uint32(base[:]) | binary.BigEndian.Uint32(h[:])>>within.Bits()
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, n)))
}

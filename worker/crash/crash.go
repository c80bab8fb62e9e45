package crash

// void tandem_crash_plainly(void);
// void tandem_crash_now(int how);
import "C"

func init() { C.tandem_crash_plainly() } //nolint:gochecknoinits // importing the package is all there is to do

// now brings the process down in C: by a null pointer, a full stack, a null pointer on a thread of C, or by abort.
func now(how int) { C.tandem_crash_now(C.int(how)) }

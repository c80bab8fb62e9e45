package crash

// void tandem_crash_plainly(void);
// void tandem_crash_exit_code(int code);
// void tandem_crash_now(int how);
import "C"

func init() { C.tandem_crash_plainly() } //nolint:gochecknoinits // importing the package is all there is to do

// ExitWith calls f. A crash meanwhile ends the process with this exit code, which says what it was doing, and not by its signal.
// For one call at a time.
func ExitWith(code int, f func() error) error {
	C.tandem_crash_exit_code(C.int(code))
	defer C.tandem_crash_exit_code(0)
	return f()
}

// now brings the process down in C: by a null pointer, a full stack, a null pointer on a thread of C, or by abort.
func now(how int) { C.tandem_crash_now(C.int(how)) }

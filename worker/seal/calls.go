package seal

// allowed are the system calls that an engine may make whatever their arguments: what the C library, Go, libtorch, OpenMP, BLAS and
// NVIDIA's libraries use to compute, to read and write files and sockets, and to wait. Names that an architecture has not are left out.
var allowed = []string{
	// Files that Landlock and the user's rights let it reach.
	"access", "chdir", "chmod", "close", "close_range", "copy_file_range", "creat", "dup", "dup2", "dup3", "faccessat", "faccessat2",
	"fadvise64", "fchdir", "fchmod", "fchmodat", "fcntl", "fdatasync", "flock", "fstat", "fstatfs", "fsync", "ftruncate", "getcwd", "getdents", "getdents64",
	"ioctl", "lseek", "lstat", "mkdir", "mkdirat", "newfstatat", "open", "openat", "openat2", "pread64", "preadv", "preadv2", "pwrite64",
	"pwritev", "pwritev2", "read", "readahead", "readlink", "readlinkat", "readv", "rename", "renameat", "renameat2", "rmdir", "sendfile", "splice", "stat",
	"statfs", "statx", "symlink", "symlinkat", "sync_file_range", "tee", "truncate", "umask", "unlink", "unlinkat", "utimensat", "write", "writev",
	// Memory.
	"brk", "get_mempolicy", "madvise", "mbind", "membarrier", "memfd_create", "mincore", "mlock", "mlock2", "mmap", "mprotect", "mremap", "msync",
	"munlock", "munmap", "pkey_alloc", "pkey_free", "pkey_mprotect", "set_mempolicy", "shmat", "shmctl", "shmdt", "shmget",
	// Threads, waiting and time.
	"arch_prctl", "clock_getres", "clock_gettime", "clock_nanosleep", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_pwait2",
	"epoll_wait", "eventfd", "eventfd2", "exit", "exit_group", "futex", "futex_wait", "futex_waitv", "futex_wake", "get_robust_list", "getcpu", "getitimer",
	"gettimeofday", "nanosleep", "pause", "pidfd_open", "pipe", "pipe2", "poll", "ppoll", "pselect6", "restart_syscall", "rseq",
	"sched_get_priority_max", "sched_get_priority_min", "sched_getaffinity", "sched_getattr", "sched_getparam", "sched_getscheduler",
	"sched_setaffinity", "sched_yield", "select", "set_robust_list", "set_tid_address", "set_thread_area", "setitimer", "time", "timer_create",
	"timer_delete", "timer_getoverrun", "timer_gettime", "timer_settime", "timerfd_create", "timerfd_gettime", "timerfd_settime", "times", "wait4", "waitid",
	// Signals of its own.
	"rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait", "sigaltstack", "signalfd4",
	// What it is.
	"capget", "getegid", "geteuid", "getgid", "getgroups", "getpgid", "getpgrp", "getpid", "getppid", "getpriority", "getrandom", "getresgid", "getresuid",
	"getrlimit", "getrusage", "getsid", "gettid", "getuid", "setrlimit", "sysinfo", "uname",
	// Sockets; which can be made, limited says.
	"accept", "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt", "listen", "recvfrom", "recvmmsg", "recvmsg", "sendmmsg", "sendmsg",
	"sendto", "setsockopt", "shutdown", "socketpair",
}

// absent are calls that libraries try and do without where the kernel has not got them.
var absent = []string{"clone3", "map_shadow_stack", "mseal", "cachestat", "fchmodat2", "set_mempolicy_home_node", "statmount", "listmount"}

// onDevices are calls that the libraries of devices need besides. fallocate takes disk in no time, before anybody can look.
var onDevices = []string{"fallocate"}

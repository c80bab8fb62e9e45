#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

// Not 0 while a crash ends the process with this exit code.
static volatile sig_atomic_t exit_code = 0;

// A signal that C or C++ code has brought about. Go hands on those to whom they belonged before it began; the instruction is done once more, and
// what the kernel does for want of a handler is to end the process by the signal. On threads of C++ that have no stack for it, the kernel does
// so at once.
static void die(int signal_number, siginfo_t *info, void *context) {
  (void)info;
  (void)context;
  if (exit_code != 0) _exit(exit_code);
  signal(signal_number, SIG_DFL);
}

// What comes to us and not to Go; abort sends the signal once more.
static void die_at_once(int signal_number) {
  if (exit_code != 0) _exit(exit_code);
  signal(signal_number, SIG_DFL);
  raise(signal_number);
}

// Runs before Go does, which takes note of who is there.
__attribute__((constructor)) static void before_go(void) {
  static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE};
  struct sigaction action = {0};
  action.sa_sigaction = die;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) sigaction(signals[i], &action, NULL);
}

void tandem_crash_plainly(void) {
  static const int signals[] = {SIGABRT, SIGILL, SIGTRAP, SIGSYS};
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) signal(signals[i], die_at_once);
}

void tandem_crash_exit_code(int code) { exit_code = code; }

static int deeper(volatile int *above) {
  volatile int here[64];
  here[0] = *above + 1;
  return deeper(here) + here[0];
}

static void *touch(void *place) {
  *(volatile int *)place = 1;
  return NULL;
}

void tandem_crash_now(int how) {
  volatile int top = 0;
  pthread_t thread;
  switch (how) {
  case 0:
    touch(NULL);
    break;
  case 1:
    deeper(&top);
    break;
  case 2:
    if (pthread_create(&thread, NULL, touch, NULL) == 0) pthread_join(thread, NULL);
    break;
  default:
    abort();
  }
}

// Every other entry point succeeds and does nothing; stubs.inc is written by build.py.
#include "stubs.inc"

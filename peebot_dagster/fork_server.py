"""What the process that forks the code server and its runs preloads last.

Who stops a code server asks each of its processes to end. This one ends with the last that may want a fork:
if it went first, the code server would go with it, in the middle of what it has to finish.
"""

import os
import signal

signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))

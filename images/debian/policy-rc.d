#!/bin/sh
# No service is started by installing it: in a container the command is the
# service.
exit 101

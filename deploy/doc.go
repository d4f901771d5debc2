// Package deploy is the folder of how the server is run: the container image and a one-node compose file.
//
// It holds no code but that of npm/, which repairs the published npm client, only the test that keeps these files in step with the program: the commands, flags, ports and environment
// names that they use exist, nothing runs as root, and no password has a default.
package deploy

// Package graphgrpc holds the client and server stubs of PeerService, apart from the messages as those of the API are.
package graphgrpc

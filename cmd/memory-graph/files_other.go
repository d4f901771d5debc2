//go:build !unix

package main

// restrictFiles does nothing here: folders inherit who may read them.
func restrictFiles() {}

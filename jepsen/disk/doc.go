// Package disk fills the disk under a real server, again and again, and looks at what it says and keeps.
//
// The data folder lies on a small file system of its own. Writers fill it, or a file beside the data does; the server must
// refuse writes in a way that programs and people understand, go on reading, take writes again when there is room, and lose
// nothing that it acknowledged, also when it is killed on the full disk. Where the server may end because its store cannot
// write, it must say so and start again with room. What is read is compared with what was acknowledged, record by record.
package disk

// SPDX-License-Identifier: GPL-2.0-only
// An application under test (apps.bash, start_heap): V8's heap and its compiled code. Usage: node heap.js MIB
'use strict';
const crypto = require('crypto');
const fs = require('fs');

let seed = 7;
function next() {
	seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
	return seed;
}

const heap = [];
for (let i = 0; i < Number(process.argv[2]) * 64; i++) {
	const bytes = Buffer.allocUnsafeSlow(12 << 10);
	for (let j = 0; j < bytes.length; j += 4)
		bytes.writeUInt32LE(next(), j);
	heap.push({ bytes, name: 'node ' + i, list: Array.from({ length: 64 }, (_, j) => next() / (j + 1)), before: heap[i - 1] });
}

// Hot enough to be compiled, so that it runs from JIT pages before, during and after the move.
function mix(list, from) {
	let h = from;
	for (let i = 0; i < list.length; i++)
		h = (Math.imul(h, 31) + (list[i] * 4096 | 0)) | 0;
	return h;
}

function checksum() {
	const hash = crypto.createHash('sha256');
	let h = 1;
	heap.forEach((node, i) => {
		if (node.before !== heap[i - 1])
			throw new Error('a link is wrong');
		hash.update(node.bytes);
		hash.update(node.name);
		h = mix(node.list, h);
	});
	return hash.update(String(h)).digest('hex');
}

let rounds = 0, longest = 0, last = Date.now(), mixed = 0;
function tick() {
	const now = Date.now();
	longest = Math.max(longest, now - last);
	last = now;
	for (let n = 0; n < 50; n++, rounds++) {
		const node = heap[rounds * 7919 % heap.length];
		node.bytes = Buffer.from(node.bytes);
		node.list = node.list.slice();
		mixed = mix(node.list, mixed);
	}
	if (!fs.existsSync('CHECK')) {
		setTimeout(tick, 1);
		return;
	}
	console.log('check', checksum(), 'rounds=' + rounds, 'longest_ms=' + longest);
	setInterval(() => {}, 1000);
}

console.log('ready', checksum());
tick();

// SPDX-License-Identifier: GPL-2.0-only
// An application under test (apps.bash, start_heap): a JVM's heap, its collector and its compiled code.
// Usage: java Heap.java MIB
import java.io.File;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.Random;

class Heap {
	static final class Node {
		byte[] bytes;
		long[] list;
		String name;
		Node before;
	}

	static final ArrayList<Node> heap = new ArrayList<>();
	static volatile long rounds, mixed;

	// Hot enough to be compiled, so that it runs from JIT pages before, during and after the move.
	static long mix(long[] list, long h) {
		for (long v : list)
			h = h * 31 + v;
		return h;
	}

	static String checksum() throws Exception {
		MessageDigest hash = MessageDigest.getInstance("SHA-256");
		long h = 1;
		for (int i = 0; i < heap.size(); i++) {
			Node node = heap.get(i);
			synchronized (node) {
				if (node.before != (i == 0 ? null : heap.get(i - 1)))
					throw new Exception("a link is wrong");
				hash.update(node.bytes);
				hash.update(node.name.getBytes("UTF-8"));
				h = mix(node.list, h);
			}
		}
		hash.update(Long.toString(h).getBytes("UTF-8"));
		return HexFormat.of().formatHex(hash.digest());
	}

	// Garbage, objects that are replaced by equal ones, and work for the collector's threads.
	static void churn(int from) {
		for (int n = from;; n++) {
			Node node = heap.get((int)(n * 7919L % heap.size()));
			synchronized (node) {
				node.bytes = node.bytes.clone();
				node.list = node.list.clone();
				mixed = mix(node.list, mixed);
			}
			rounds++;
			if (n % 50 == 0)
				pause(1);
		}
	}

	static void pause(long ms) {
		try {
			Thread.sleep(ms);
		} catch (InterruptedException e) {
			throw new RuntimeException(e);
		}
	}

	public static void main(String[] args) throws Exception {
		Random random = new Random(7);
		for (int i = 0; i < Integer.parseInt(args[0]) * 64; i++) {
			Node node = new Node();
			node.bytes = new byte[12 << 10];
			random.nextBytes(node.bytes);
			node.list = random.longs(384).toArray();
			node.name = "node " + i;
			node.before = i == 0 ? null : heap.get(i - 1);
			heap.add(node);
		}
		System.out.println("ready " + checksum());
		for (int t = 0; t < 2; t++) {
			int from = t * 1000;
			Thread thread = new Thread(() -> churn(from));
			thread.setDaemon(true);
			thread.start();
		}
		File check = new File("CHECK");
		long longest = 0, last = System.currentTimeMillis();
		while (!check.exists()) {
			pause(2);
			long now = System.currentTimeMillis();
			longest = Math.max(longest, now - last);
			last = now;
		}
		System.out.println("check " + checksum() + " rounds=" + rounds + " longest_ms=" + longest);
		while (true)
			pause(1000);
	}
}

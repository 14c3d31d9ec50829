package com.google.common.util.concurrent

import java.util.concurrent.Future

/** As the class of this name in Guava. */
public interface ListenableFuture<V> : Future<V>
